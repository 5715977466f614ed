"""Endpoints of Zooniverse: the two sites, or this machine for a stand-in; and the guard around the client."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Final
from urllib.parse import urlsplit

from alservice.checks import require
from alservice.errors import Terminal

_ENDPOINT: Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


VARIABLE: Final = "PANOPTES_ENDPOINT"
"""Where the library's clients go that are told nothing."""

NOWHERE: Final = "http://127.0.0.1:9"
"""Endpoint of a client that was told none: the discard port of this machine, never the real site."""


def fence_client() -> None:
    """Take the Zooniverse client's variables from this process and its children; a client told nothing finds nobody.

    The library would read them, and without an endpoint its silent default, in each new thread, is the public site.
    """
    os.environ[VARIABLE] = NOWHERE
    for name in list(os.environ):
        if name.startswith("PANOPTES_") and name != VARIABLE:
            del os.environ[name]


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine, by address or as ``localhost``."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RealSiteRefused(Terminal):
    """Simulated volunteers were pointed at something that is not on this machine."""

    code = "real-site-refused"
    remedy = "Give the endpoint of the stand-in, on 127.0.0.1; simulated votes never go to a real survey."


def loopback_address(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint on this machine, such as ``http://127.0.0.1:8000``.

    Raises
    ------
    RealSiteRefused
        If the host is neither a loopback address nor ``localhost``, or the scheme is not http.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(endpoint):
        raise RealSiteRefused(f"simulated volunteers may not vote at {endpoint!r}: it is not loopback", host=host)
    return host, parts.port or 80


def check_endpoint(endpoint: str) -> None:
    """Raise `BadConfig` for what is no endpoint: scheme, host and maybe a port, and nothing else.

    A login does not belong into an address, which is stored and shown; the message does not repeat it.
    """
    require("@" not in endpoint, "zooniverse.endpoint must not contain a login: set ALSERVICE_ZOONIVERSE_USERNAME")
    form = "scheme://host or scheme://host:port, http or https, without a slash at its end"
    require(_ENDPOINT.fullmatch(endpoint) is not None, f"zooniverse.endpoint must be 'standin' or {form}")

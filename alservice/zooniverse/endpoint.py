"""Endpoints of Zooniverse: the two sites, or this machine for a stand-in."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from alservice.checks import require

_ENDPOINT: Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine, by address or as ``localhost``."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(endpoint: str) -> None:
    """Raise `BadConfig` for what is no endpoint: scheme, host and maybe a port, and nothing else.

    A login does not belong into an address, which is stored and shown; the message does not repeat it.
    """
    require("@" not in endpoint, "zooniverse.endpoint must not contain a login: set ALSERVICE_ZOONIVERSE_USERNAME")
    form = "scheme://host or scheme://host:port, http or https, without a slash at its end"
    require(_ENDPOINT.fullmatch(endpoint) is not None, f"zooniverse.endpoint must be 'standin' or {form}")

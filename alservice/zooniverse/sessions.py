"""Sessions for requests: where they may go, and what of this process's environment they follow."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from alservice.zooniverse.endpoint import is_loopback


class Session(requests.Session):
    """A session for one server, which finds no login on this machine.

    Proxies and certificates of the environment are followed, as whoever runs the machine set them; not to this
    machine itself, which no proxy reaches. ``.netrc`` is never read: it would overrule a token, or give one away.

    Parameters
    ----------
    url
        Where the server is.
    is_confined
        Whether requests, redirected ones as well, stay there; on loopback they always do. Otherwise they may go
        to any server, and from an https one by https only.
    adapter
        Connections to share with another session of the same thread.

    Raises
    ------
    requests.exceptions.InvalidSchema
        By a request that was to go elsewhere.
    """

    def __init__(self, url: str, *, is_confined: bool = False, adapter: HTTPAdapter | None = None) -> None:
        super().__init__()
        parts = urlsplit(url)
        is_local = is_loopback(url)
        self.auth = as_it_is
        self.trust_env = not is_local
        self.adapters.clear()
        adapter = adapter or HTTPAdapter()
        if is_confined or is_local:
            self.mount(f"{parts.scheme}://{parts.netloc}/", adapter)
            return
        for scheme in {"https", parts.scheme}:
            self.mount(f"{scheme}://", adapter)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Take the token off a request that is sent on to another server; the library would also ask ``.netrc``."""
        before, after = urlsplit(str(response.request.url)), urlsplit(str(prepared_request.url))
        if before[:2] != after[:2]:  # scheme, host and port
            prepared_request.headers.pop("Authorization", None)


def as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authorise a request with what it carries: without an authorisation, the library looks for one in ``.netrc``."""
    return request

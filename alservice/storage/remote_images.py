"""Image files at https, http and s3 addresses: of servers that the settings name, bounded in bytes and in time.

A catalogue is often somebody else's file, and an address in it must not make this machine read what only it can reach.
So a host has to be named; its addresses are looked up once, each is judged, and the connection goes to the one that was
judged, whatever the name resolves to a moment later. Redirects are followed a few times, and each place is judged anew.
Proxies of the environment are not used: behind one, nobody could say where a connection ends.
"""

from __future__ import annotations

import io
import ipaddress
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit

from alservice.constants import APP_NAME, MAX_ORIGINAL_BYTES, VERSION
from alservice.errors import BadConfig, BadImage, ImagesUnavailable
from alservice.retry import Circuit, RetryPolicy, retried
from alservice.settings import Settings

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PORTS: Final = {"https": 443, "http": 80}
_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LATER: Final = frozenset({408, 425, 429})
_CHUNK: Final = 1 << 16
_SHOWN_CHARS: Final = 200
_NAT64: Final = IPv6Network("64:ff9b::/96")

_Ip: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How long one image is waited for, and how much is read.

    Parameters
    ----------
    connect_s, read_s
        For a connection, and between two pieces of an answer (s).
    total_s
        From the first attempt to the last byte (s), waits between attempts included.
    max_bytes
        Of a file.
    failures
        Images in a row that fail by the server's fault before no more are asked for.
    """

    connect_s: float = 10.0
    read_s: float = 20.0
    total_s: float = 120.0
    max_bytes: int = MAX_ORIGINAL_BYTES
    failures: int = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedHosts:
    """Which servers may be asked.

    Parameters
    ----------
    origins
        Scheme, host and port of each.
    networks
        Private networks in which they may be.
    """

    origins: frozenset[tuple[str, str, int]]
    networks: tuple[_Network, ...]

    @classmethod
    def of(cls, text: str) -> AllowedHosts:
        """Return those that a setting names; raises `BadConfig` for an entry that is none."""
        origins, networks = set(), []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            try:
                if "/" in entry and "://" not in entry:
                    networks.append(_network(entry))
                else:
                    origins.add(_named_origin(entry if "://" in entry else f"https://{entry}"))
            except (ValueError, BadImage):
                raise BadConfig(
                    f"ALSERVICE_IMAGE_HOSTS: {entry[:_SHOWN_CHARS]!r} is neither host, host:port, http://host nor a "
                    "network such as 10.0.0.0/8"
                ) from None
        return cls(origins=frozenset(origins), networks=tuple(networks))

    def check(self, origin: tuple[str, str, int]) -> None:
        """Raise `BadImage` unless a server is named."""
        if origin not in self.origins:
            scheme, host, port = origin
            name = host if port == _PORTS[scheme] else f"{host}:{port}"
            entry = name if scheme == "https" else f"{scheme}://{name}"
            raise BadImage(f"the server {entry} is not one of ALSERVICE_IMAGE_HOSTS")

    def check_ip(self, host: str, ip: _Ip) -> None:
        """Raise `BadImage` for an address of a private network that is not named, as itself, network or localhost."""
        if _is_public(ip) or _is_itself(host, ip) or any(ip in network for network in self.networks):
            return
        raise BadImage(
            f"the server {host} is at {ip}, which is no public address: name its network in ALSERVICE_IMAGE_HOSTS if "
            "it is meant"
        )


def is_address(name: str) -> bool:
    """Return whether a name is an address and no path: whether it begins with a scheme."""
    return _ADDRESS.match(name) is not None


class RemoteImages:
    """Reads image files at addresses; safe to share between threads.

    Parameters
    ----------
    hosts
        Servers that may be asked.
    buckets
        Options of boto3's client (``endpoint_url``, ``region``) by bucket that may be read.
    bounds, retry
        How long is waited, how much is read, and how often is asked.
    tls
        Whom to trust; None for the certificates of this machine, or of ``SSL_CERT_FILE``.
    resolve
        `socket.getaddrinfo`, or what stands for it.
    """

    def __init__(
        self,
        hosts: AllowedHosts,
        buckets: Mapping[str, Mapping[str, str]],
        *,
        bounds: Bounds | None = None,
        retry: RetryPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._hosts = hosts
        self._bounds = bounds or Bounds()
        self._retry = retry or RetryPolicy(attempts=3, first_s=0.5, longest_s=10.0)
        self._tls = tls
        self._resolve = resolve
        self._sleep = sleep
        self._chance = chance
        self._buckets = _Buckets(buckets)
        self._circuit = Circuit(self._bounds.failures, ImagesUnavailable)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> RemoteImages:
        """Return the reader that the settings ask for; raises `BadConfig` for a host or a bucket that is none."""
        return cls(AllowedHosts.of(settings.image_hosts), _buckets_of(settings.image_buckets))

    def get(self, address: str) -> bytes:
        """Return the file at an address.

        Raises
        ------
        BadImage
            It is not allowed, not there, too long, or did not come whole within the time, by no fault of ours.
        ImagesUnavailable
            So many images in a row failed that the server must be down.
        """
        self._circuit.check()
        deadline = time.monotonic() + self._bounds.total_s
        try:
            data = retried(
                partial(self._ask, address, deadline),
                policy=self._retry,
                on=ImagesUnavailable,
                sleep=lambda wait_s: self._sleep(max(0.0, min(wait_s, deadline - time.monotonic()))),
                chance=self._chance,
            )
        except ImagesUnavailable as error:
            self._circuit.note(error)
            raise BadImage(error.message) from error
        except BadImage:  # the server is up, and has said so
            self._circuit.note(None)
            raise
        self._circuit.note(None)
        return data

    def _ask(self, address: str, deadline: float) -> bytes:
        """Return the file, asking once at each place that the server sends us to."""
        parts = _split(address)
        is_ours = parts.scheme == "s3"
        if is_ours:  # asked for over https as any other, so under the same bounds; the server is the settings' own
            parts = _split(self._buckets.sign(parts))
        for _ in range(1 + _MAX_REDIRECTS):
            origin = _origin(parts)
            if not is_ours:
                self._hosts.check(origin)
            try:
                found = self._answer(origin, parts, deadline, trusted=is_ours)
            except (BadImage, ImagesUnavailable):
                raise
            except (OSError, HTTPException, ValueError) as error:
                raise _fault(error, parts, self._bounds, deadline) from error
            if isinstance(found, bytes):
                return found
            if is_ours:
                raise BadImage(f"{shown_address(address)}: the bucket is elsewhere: give its region in the settings")
            parts = _split(urljoin(parts.geturl(), found))
        raise BadImage(f"{shown_address(address)}: more than {_MAX_REDIRECTS} redirects")

    def _answer(
        self, origin: tuple[str, str, int], parts: SplitResult, deadline: float, *, trusted: bool
    ) -> bytes | str:
        """Return what one server answers: the file, or where to ask instead."""
        scheme, host, port = origin
        with closing(self._connected(host, port, deadline, trusted=trusted)) as plain:
            sock = self._context().wrap_socket(plain, server_hostname=host) if scheme == "https" else plain
            with closing(sock):
                connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(host, port)
                connection.sock = _Timed(sock, self._bounds.read_s, deadline)
                headers = {"User-Agent": f"{APP_NAME}/{VERSION}", "Accept-Encoding": "identity", "Connection": "close"}
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers=headers)
                with closing(connection.getresponse()) as response:
                    return _read(response, parts, self._bounds)

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            return self._tls

    def _connected(self, host: str, port: int, deadline: float, *, trusted: bool) -> socket.socket:
        """Return a connection to an address of a host, once all of its addresses are known to be allowed."""
        found = self._resolve(host, port, type=socket.SOCK_STREAM)
        if not trusted:
            for *_, place in found:
                self._hosts.check_ip(host, ipaddress.ip_address(str(place[0]).partition("%")[0]))
        failed: OSError | None = None
        for family, kind, protocol, _, place in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left(min(self._bounds.connect_s, self._bounds.read_s), deadline))
                sock.connect(place)
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        raise failed or OSError("the host has no address")


class _Buckets:
    """Clients of the buckets that may be read, each made when it is first asked for."""

    def __init__(self, options: Mapping[str, Mapping[str, str]]) -> None:
        self._options = options
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def sign(self, parts: SplitResult) -> str:
        """Return an address that is good for the next minutes."""
        if parts.netloc not in self._options:
            raise BadImage(f"the bucket {parts.netloc[:_SHOWN_CHARS]!r} is not one of ALSERVICE_IMAGE_BUCKETS")
        from alservice.storage.s3 import signed_address  # boto3 takes long to import and few catalogues need it

        with self._lock:
            return signed_address(
                self._clients, parts.netloc, unquote(parts.path.removeprefix("/")), **self._options[parts.netloc]
            )


class _Timed:
    """A socket for `http.client`, each of whose waits ends by a deadline."""

    def __init__(self, sock: socket.socket, read_s: float, deadline: float) -> None:
        self._sock = sock
        self._read_s = read_s
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send."""
        self._sock.settimeout(_left(self._read_s, self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what is received."""
        return io.BufferedReader(_Received(self.receive))

    def receive(self, buffer: memoryview) -> int:
        """Wait for the next bytes."""
        self._sock.settimeout(_left(self._read_s, self._deadline))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Do nothing: who made the socket closes it."""


class _Received(io.RawIOBase):
    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._receive(buffer)


class _TooSlow(TimeoutError):
    """The time for one image is over."""


def _left(wait_s: float, deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _TooSlow
    return min(wait_s, left)


def _read(response: HTTPResponse, parts: SplitResult, bounds: Bounds) -> bytes | str:
    """Return the body of an answer, or where a redirect leads."""
    where = shown_address(parts.geturl())
    if response.status in _REDIRECTS and response.getheader("Location"):
        return str(response.getheader("Location"))
    if response.status >= 500 or response.status in _LATER:
        raise ImagesUnavailable(f"{where}: the server answers {response.status}")
    if response.status != 200:
        raise BadImage(f"{where}: the server answers {response.status}")
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise BadImage(f"{where}: the server sends it encoded, though it was asked not to")
    data = bytearray()
    # An answer that says to be too long is not begun; one that is, whatever it says, is left there.
    while (response.length or 0) + len(data) <= bounds.max_bytes and (chunk := response.read(_CHUNK)):
        data += chunk
    if (response.length or 0) + len(data) > bounds.max_bytes:
        raise BadImage(f"{where}: too many bytes: over the limit of {bounds.max_bytes}")
    if response.length:
        raise ImagesUnavailable(f"{where}: the server broke off, {response.length} bytes before the end")
    return bytes(data)


def _fault(
    error: OSError | HTTPException | ValueError, parts: SplitResult, bounds: Bounds, deadline: float
) -> BadImage | ImagesUnavailable:
    """Return what an exception of a connection means."""
    where = shown_address(parts.geturl())
    if isinstance(error, TimeoutError) and time.monotonic() >= deadline:
        return ImagesUnavailable(f"{where}: not whole after {bounds.total_s:g} s")
    if isinstance(error, TimeoutError):
        return ImagesUnavailable(f"{where}: the server is silent for {bounds.read_s:g} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadImage(f"{where}: its certificate is not trusted: {error.verify_message}")
    if isinstance(error, InvalidURL | ValueError) and not isinstance(error, OSError):
        return BadImage(f"{where} is no address: {error}")
    said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return ImagesUnavailable(f"{where}: {said}")


def _split(address: str) -> SplitResult:
    """Return the parts of an address; raises `BadImage` unless it is one of ours, without a login."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  # raises for what is no port
    except ValueError as error:
        raise BadImage(f"{shown_address(address)} is no address: {error}") from None
    if parts.scheme not in {"https", "http", "s3"}:
        raise BadImage(f"{shown_address(address)}: images are read over https, http and s3, not {parts.scheme}")
    if "@" in parts.netloc:
        raise BadImage(f"{shown_address(address)}: an address with a login is not read")
    if not parts.hostname or not parts.geturl().isascii() or re.search(r"[\s\x00-\x1f\x7f]", address):
        raise BadImage(f"{shown_address(address)} is no address: no host, or characters that have to be encoded")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Return scheme, host and port of an address; raises `BadImage` where it is for no server."""
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise BadImage(f"{shown_address(parts.geturl())}: not the address of a server")
    return parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme]


def _named_origin(address: str) -> tuple[str, str, int]:
    parts = _split(address)
    if parts.path not in {"", "/"} or parts.query:
        raise ValueError(address)
    return _origin(parts)


def _network(text: str) -> _Network:
    network = ipaddress.ip_network(text)
    if network.prefixlen == 0:
        raise ValueError("every address there is")
    return network


def shown_address(address: str) -> str:
    """Return an address for a message: without login and query, which may hold a secret, and not without end."""
    plain = re.sub(r"//[^/?#]*@", "//", address.partition("?")[0].partition("#")[0])
    plain = "".join(letter if letter.isprintable() else "?" for letter in plain[: _SHOWN_CHARS + 1])
    return plain if len(plain) <= _SHOWN_CHARS else f"{plain[:_SHOWN_CHARS]}..."


def _is_public(ip: _Ip) -> bool:
    """Return whether an address is one of the whole internet, and so is what lies inside it."""
    if isinstance(ip, IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inside is None and ip in _NAT64:
            inside = IPv4Address(int(ip) & 0xFFFFFFFF)
        if inside is not None and not _is_public(inside):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return ip.is_global and not ip.is_multicast


def _is_itself(host: str, ip: _Ip) -> bool:
    """Return whether a host is this address, written as such, or loopback by its name (RFC 6761)."""
    if host == "localhost":
        return ip.is_loopback
    try:
        return ipaddress.ip_address(host) == ip
    except ValueError:
        return False


_S3_OPTIONS: Final = frozenset({"endpoint_url", "region"})


def _buckets_of(text: str) -> dict[str, dict[str, str]]:
    """Return the options of each bucket that a setting names."""
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, query = entry.removeprefix("s3://").partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        endpoint = options.get("endpoint_url")
        is_server = endpoint is None or (re.match(r"https?://[^/@]+/?$", endpoint) is not None)
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]+", name) or set(options) - _S3_OPTIONS or not is_server:
            raise BadConfig(
                f"ALSERVICE_IMAGE_BUCKETS: the entry of {name[:_SHOWN_CHARS]!r} is neither a bucket nor "
                "bucket?endpoint_url=https://host&region=..."
            )
        found[name] = options
    return found

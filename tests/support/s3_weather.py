"""A road to an S3 server that fails at random: errors, delays, resets, answers cut short and answers that were changed."""

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

import numpy as np

KINDS = ("error", "slow", "reset", "lost answer", "truncated", "changed")
"""`lost answer`: the server did what was asked, and nobody was told."""


class Weather:
    """What happens to the calls of a road: seeded, calm at first."""

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self.struck: Counter[str] = Counter()
        self._rng, self._lock = np.random.default_rng(seed), Lock()

    def draw(self) -> str | None:
        """Return the fault of one call, mostly none."""
        with self._lock:
            if self._rng.random() >= self.share:
                return None
            kind = str(self._rng.choice(KINDS))
            self.struck[kind] += 1
            return kind


class _Road(BaseHTTPRequestHandler):
    """One call of a client, passed on to the server or not."""

    protocol_version = "HTTP/1.1"
    target: tuple[str, int]
    weather: Weather

    def handle_one_request(self) -> None:
        """Read a call, and end the connection after it."""
        self.raw_requestline = self.rfile.readline(65537)
        if self.raw_requestline and self.parse_request():
            self._handle(self.weather.draw())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _handle(self, fault: str | None) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "error":
            self.send_error((500, 502, 503)[len(self.path) % 3])
        elif fault != "reset":
            status, headers, data = self._asked(body)
            if fault == "slow":
                time.sleep(0.05)
            if fault == "changed" and data and self.command == "GET":
                data = bytes([data[0] ^ 1]) + data[1:]
            if fault != "lost answer":
                self._answer(status, headers, data, cut=fault == "truncated")

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        server = http.client.HTTPConnection(*self.target, timeout=30)
        server.request(self.command, self.path, body, dict(self.headers.items()))
        answer = server.getresponse()
        data = answer.read()
        server.close()
        return answer.status, answer.getheaders(), data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool) -> None:
        self.send_response_only(status)
        length = str(len(data))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections are cut on purpose."""


@contextmanager
def stormy_road(endpoint_url: str, weather: Weather) -> Iterator[str]:
    """Yield the address of a proxy of an S3 server under some weather."""
    target = urlsplit(endpoint_url)
    road = type("Road", (_Road,), {"target": (target.hostname, target.port), "weather": weather})
    with _Server(("127.0.0.1", 0), road) as proxy:
        thread = Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()

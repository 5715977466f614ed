"""A server of images on loopback, over TLS or not, that answers well or as no server should."""

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[socket.socket], None]

LONGEST_S = 20.0
"""After which a server that never ends does, whoever still listens."""


def certificate(folder: Path) -> Path:
    """Write key and certificate of localhost and 127.0.0.1 into one file, and return it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.DNSName("images.example"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return path


def body(data: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Answer:
    """Return an answer with a body, and with the length that it should say to have."""

    def answer(connection: socket.socket) -> None:
        n = len(data) if length is None else length
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {n}", *headers))
        connection.sendall(head.encode() + b"\r\n" + data)

    return answer


def moved(place: str) -> Answer:
    """Return a redirect."""
    return body(b"", f"Location: {place}", status="302 Found")


def bare(data: bytes) -> Answer:
    """Return an answer of these bytes."""
    return lambda connection: connection.sendall(data)


def endless(start: bytes, piece: bytes, every_s: float) -> Answer:
    """Return an answer that goes on and on."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            connection.sendall(piece)
            time.sleep(every_s)

    return answer


@dataclass(kw_only=True)
class ImageServer:
    """A running server: answers by path, and how often each was asked for."""

    scheme: str
    port: int
    answers: dict[str, Answer | list[Answer]]
    asked: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """Its name and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return an address of it."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def serve(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        """Answer one request."""
        with suppress(OSError), connection:
            connection.settimeout(LONGEST_S)
            with context.wrap_socket(connection, server_side=True) if context else connection as spoken:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += spoken.recv(1 << 16)
                path = request.split(b" ", 2)[1].decode()
                with self.lock:
                    self.asked[path] += 1
                    self.at_once += 1
                    self.most_at_once = max(self.most_at_once, self.at_once)
                    answer = self.answers[path]
                    if isinstance(answer, list):
                        answer = answer[min(self.asked[path], len(answer)) - 1]
                try:
                    answer(spoken)
                finally:
                    with self.lock:
                        self.at_once -= 1


@contextmanager
def image_server(answers: dict[str, Answer | list[Answer]], pem: Path | None = None) -> Iterator[ImageServer]:
    """Serve answers until the block ends; over TLS with a certificate."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ImageServer(scheme="http" if pem is None else "https", port=listener.getsockname()[1], answers=answers)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=server.serve, args=(connection, context), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)

"""The reverse proxy's configuration, run for real before a server of ours."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest
import yaml
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.support.shared import ROOT
from tests.support.slow_clients import connected, everything
from tests.support.web_server import served

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
OPENSSL = shutil.which("openssl")
START_S = 30

pytestmark = pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="nginx or openssl is not installed here")


class Echo:
    """An application that says what it was told of its client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        host = dict(scope["headers"])[b"host"].decode()
        told = f"{scope['client'][0]} {scope['scheme']} {host} {scope['path']}"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"DENY")]})
        await send({"type": "http.response.body", "body": told.encode()})


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, ssl.SSLContext]]:
    """Run the proxy of compose before the echo; yield its addresses (https, http) and who trusts its certificate."""
    assert NGINX is not None
    assert OPENSSL is not None
    folder = tmp_path_factory.mktemp("proxy")
    folder.chmod(0o755)
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True,
        capture_output=True,
    )
    https, http = free_port(), free_port()
    # As the application follows the proxies that it is told to trust.
    followed = ProxyHeadersMiddleware(Echo(), trusted_hosts=["127.0.0.1"])
    with served(followed) as behind:
        text = (ROOT / "docker" / "nginx.conf").read_text()
        here = {
            "/tmp/": f"{folder}/",
            "service:8000": behind.removeprefix("http://"),
            "listen 8080": f"listen 127.0.0.1:{http}",
            "listen 8443": f"listen 127.0.0.1:{https}",
            "/run/secrets/tls_certificate": str(folder / "tls.crt"),
            "/run/secrets/tls_key": str(folder / "tls.key"),
            "/dev/stdout": str(folder / "access.log"),
            "client_header_timeout 10s": "client_header_timeout 1s",
        }
        for named, ours in here.items():
            assert named in text, named
            text = text.replace(named, ours)
        conf = folder / "nginx.conf"
        conf.write_text(text)
        checked = subprocess.run(
            [NGINX, "-t", "-c", conf, "-p", folder], check=False, capture_output=True, text=True, timeout=START_S
        )
        assert checked.returncode == 0, checked.stderr
        user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are its own
        log = (folder / "error.log").open("wb")
        with (
            log,
            subprocess.Popen([NGINX, "-c", conf, "-p", folder, "-g", f"daemon off; {user}"], stderr=log) as process,
        ):
            try:
                await_port(https)
                trust = ssl.create_default_context(cafile=str(folder / "tls.crt"))
                yield f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}", trust
            finally:
                process.terminate()


def await_port(port: int) -> None:
    """Wait until something listens."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the proxy did not start")


def test_the_service_hears_the_truth_about_its_client(proxy: tuple[str, str, ssl.SSLContext]) -> None:
    """What a client claims in headers is replaced; host and scheme are those that people see."""
    https, _, trust = proxy
    claims = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}
    with httpx.Client(verify=trust) as client:
        answer = client.get(f"{https}/campaigns/x", headers=claims)
    assert answer.text == f"127.0.0.1 https {https.removeprefix('https://')} /campaigns/x"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["server"] == "nginx"


def test_what_the_proxy_keeps_to_itself(proxy: tuple[str, str, ssl.SSLContext]) -> None:
    """Plain HTTP is led to TLS, metrics are not for the world, and bodies are no longer than the service reads."""
    https, http, trust = proxy
    moved = httpx.get(f"{http}/login")
    assert (moved.status_code, moved.headers["location"]) == (301, "https://127.0.0.1/login")
    with httpx.Client(verify=trust) as client:
        assert client.get(f"{https}/metrics").status_code == 404
        assert client.post(f"{https}/x", content=bytes((1 << 20) + 1)).status_code == 413
        assert client.post(f"{https}/x", content=bytes(1 << 20)).status_code == 200


def test_a_slow_client_ends_at_the_proxy(proxy: tuple[str, str, ssl.SSLContext]) -> None:
    """Half a head, over TLS, is not waited for."""
    https, _, trust = proxy
    with trust.wrap_socket(connected(https), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert b"200" not in everything(client)


def test_the_ingress_says_what_the_proxy_says() -> None:
    """TLS with a named secret, the same length of bodies and the same time-outs."""
    ingress = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "base" / "ingress.yaml").read_text())
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    conf = (ROOT / "docker" / "nginx.conf").read_text()
    assert f"client_max_body_size {told['proxy-body-size']};" in conf
    for name in ("connect", "send", "read"):
        assert f"proxy_{name}_timeout {told[f'proxy-{name}-timeout']}s;" in conf
    assert f"limit_conn clients {told['limit-connections']};" in conf
    assert told["force-ssl-redirect"] == "true"
    hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
    assert [(set(tls["hosts"]), tls["secretName"]) for tls in ingress["spec"]["tls"]] == [(hosts, "alservice-tls")]

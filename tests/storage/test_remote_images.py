"""Images over the network: what is fetched, where no request goes, and servers that do not behave."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import boto3
import pytest

from alservice.errors import BadConfig, BadImage, ImagesUnavailable, ObjectStoreRefused
from alservice.retry import RetryPolicy
from alservice.settings import Settings
from alservice.storage.remote_images import AllowedHosts, Bounds, RemoteImages, _is_public, shown_address
from tests.support.image_server import ImageServer, bare, body, certificate, endless, image_server, moved
from tests.support.s3 import S3Server

FILE = b"\x89PNG\r\n\x1a\n" + bytes(5000)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
IMPATIENT = {
    "/silent": Bounds(read_s=0.5, max_bytes=10_000),
    **dict.fromkeys(("/drip", "/drip-head", "/endless-chunks", "/continue"), Bounds(total_s=0.5, max_bytes=10_000)),
}
AMPLE = Bounds(max_bytes=10_000)
ONCE = RetryPolicy(attempts=1, first_s=0.0)


ANSWERS = {
    "/image": body(FILE),
    "/chunked": bare(CHUNKED + b"1388\r\n" + FILE[:5000] + b"\r\n8\r\n" + FILE[5000:] + b"\r\n0\r\n\r\n"),
    "/until-closed": bare(b"HTTP/1.0 200 OK\r\n\r\n" + FILE),
    "/404": body(b"nothing", status="404 Not Found"),
    "/403": body(b"", status="403 Forbidden"),
    "/503": body(b"", status="503 Service Unavailable"),
    "/once-503": [body(b"", status="503 Service Unavailable"), body(FILE)],
    "/once-cut": [body(FILE, length=len(FILE) + 10), body(FILE)],
    "/cut": body(FILE, length=len(FILE) + 10),
    "/says-long": body(FILE, length=1 << 40),
    "/long": bare(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(10_001)),
    "/gzip": body(FILE, "Content-Encoding: gzip"),
    "/nonsense": bare(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "/nothing": bare(b""),
    "/silent": endless(b"", b"", 0.05),
    "/drip": endless(b"HTTP/1.0 200 OK\r\n\r\n", b"x", 0.02),
    "/drip-head": endless(b"HTTP/1.0 200 OK\r\nX-Y: ", b"x", 0.02),
    "/endless": endless(b"HTTP/1.0 200 OK\r\n\r\n", bytes(1000), 0.0),
    "/endless-chunks": endless(CHUNKED, b"1\r\nx\r\n", 0.02),
    "/continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "/moved": moved("/image"),
    "/moved-4": moved("/moved-3"),
    "/moved-3": moved("/moved-2"),
    "/moved-2": moved("/moved-1"),
    "/moved-1": moved("/moved"),
    "/round": moved("/round"),
    "/nowhere": body(b"", status="302 Found"),
    "/to-file": moved("file:///etc/passwd"),
    "/to-http": moved("http://127.0.0.1/image"),
    "/to-metadata": moved("https://169.254.169.254/latest/meta-data/"),
    "/to-loopback": moved("https://127.0.0.1/secret"),
    "/to-s3": moved("s3://bucket/key"),
    "/a%20b?x=1": body(FILE),
}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(pem: Path) -> Iterator[ImageServer]:
    """One server with every kind of answer, over TLS."""
    with image_server(ANSWERS, pem) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[ImageServer]:
    """The same without TLS, whose greetings take most of the time here."""
    with image_server(ANSWERS) as running:
        yield running


def reader(server: ImageServer, pem: Path, hosts: str | None = None, **options) -> RemoteImages:
    """Return a reader that may ask the server and trusts it."""
    options = {"bounds": AMPLE, "retry": ONCE, "tls": ssl.create_default_context(cafile=str(pem)), **options}
    return RemoteImages(AllowedHosts.of(server.url("") if hosts is None else hosts), {}, **options)


@pytest.mark.parametrize("path", ["/image", "/chunked", "/until-closed", "/moved", "/moved-2", "/a%20b?x=1"])
def test_a_file_comes_as_it_is(server: ImageServer, pem: Path, path: str):
    """However it is sent, and from where it was moved to."""
    assert reader(server, pem).get(server.url(path)) == FILE


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/404", "/404: the server answers 404"),
        ("/403", "answers 403"),
        ("/503", "answers 503"),
        ("/cut", "broke off, 10 bytes before the end"),
        ("/says-long", "over the limit of 10000"),
        ("/long", "over the limit of 10000"),
        ("/endless", "over the limit of 10000"),
        ("/gzip", "sends it encoded"),
        ("/nonsense", "BadStatusLine"),
        ("/nothing", "without response"),
        ("/silent", "silent for 0.5 s"),
        ("/drip", "not whole after 0.5 s"),
        ("/drip-head", "not whole after 0.5 s"),
        ("/endless-chunks", "not whole after 0.5 s"),
        ("/continue", "not whole after 0.5 s"),
        ("/round", "more than 3 redirects"),
        ("/moved-4", "more than 3 redirects"),
        ("/nowhere", "answers 302"),
        ("/to-file", "not file"),
        ("/to-http", "the server http://127.0.0.1 is not one of ALSERVICE_IMAGE_HOSTS"),
        ("/to-metadata", "the server 169.254.169.254 is not one of"),
        ("/to-loopback", "the server 127.0.0.1 is not one of"),
        ("/to-s3", "not the address of a server"),
    ],
)
def test_a_server_that_does_not_behave_is_a_fault_that_says_so(plain: ImageServer, pem: Path, path: str, said: str):
    """Kind: a server that lies, stalls, never ends or leads elsewhere. Each is cut off."""
    begun = time.monotonic()
    with pytest.raises(BadImage, match=said):
        reader(plain, pem, bounds=IMPATIENT.get(path, AMPLE)).get(plain.url(path))
    assert time.monotonic() - begun < 15  # the test's own patience: these servers go on for longer


@pytest.mark.parametrize("path", ["/once-503", "/once-cut"])
def test_a_fault_that_may_pass_is_tried_again(plain: ImageServer, pem: Path, path: str):
    """With the policy's waits, and no oftener than it says."""
    waits: list[float] = []
    options = {"retry": RetryPolicy(attempts=3, first_s=0.01, longest_s=0.02), "sleep": waits.append}
    before = plain.asked[path]
    assert reader(plain, pem, chance=lambda: 0.0, **options).get(plain.url(path)) == FILE
    assert (plain.asked[path] - before, waits) == (2, [0.005])
    plain.asked[path] = 0


def test_what_will_not_change_is_asked_once(plain: ImageServer, pem: Path):
    """A refusal of the server is its last word."""
    before = plain.asked["/404"]
    with pytest.raises(BadImage):
        reader(plain, pem, retry=RetryPolicy(attempts=3)).get(plain.url("/404"))
    assert plain.asked["/404"] == before + 1


def test_a_server_that_is_down_ends_the_reading(plain: ImageServer, pem: Path):
    """After so many failures in a row nothing more is asked for; a reply of any kind between starts the count anew."""
    images = reader(plain, pem, bounds=Bounds(failures=2))
    for path in ("/503", "/404", "/503", "/503"):
        with pytest.raises(BadImage):
            images.get(plain.url(path))
    with pytest.raises(ImagesUnavailable, match=r"2 failures in a row, the last: .*503"):
        images.get(plain.url("/image"))


@pytest.mark.parametrize(
    ("hosts", "address", "said"),
    [
        ("", "https://images.example/a.jpg", "the server images.example is not one of ALSERVICE_IMAGE_HOSTS"),
        ("images.example", "https://images.example:444/a", "the server images.example:444 is not one of"),
        ("images.example", "http://images.example/a", "the server http://images.example is not one of"),
        ("images.example", "https://images.example.evil/a", "images.example.evil is not one of"),
        ("images.example", "https://evil@images.example/a", "with a login"),
        ("images.example", "https://images.example@evil/a", "with a login"),
        ("images.example", "ftp://images.example/a", "not ftp"),
        ("images.example", "https:///a", "no host"),
        ("images.example", "https://images.example:99999/a", "is no address"),
        ("images.example", "https://images.example/a b", "have to be encoded"),
        ("images.example", "https://images.example/a\r\nHost: evil", "have to be encoded"),
        ("images.example", "https://images.example/\N{GREEK SMALL LETTER ALPHA}", "have to be encoded"),
        ("images.example", "https://[images.example/a", "is no address"),
    ],
)
def test_no_request_goes_where_none_is_allowed(hosts: str, address: str, said: str):
    """Kind: an address in somebody's table that names another server, port or scheme. The name is not even looked up."""

    def resolve(*_: object, **__: object) -> list[object]:
        raise AssertionError("it was looked up")

    with pytest.raises(BadImage, match=said) as raised:
        RemoteImages(AllowedHosts.of(hosts), {}, retry=ONCE, resolve=resolve).get(address)
    assert "\n" not in raised.value.message


def resolver(*ips: str, port: int):
    """Return what looks up any name as these addresses, and counts how often."""
    asked: list[str] = []

    def resolve(host: str, _port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            (families[ip_address(ip).version], socket.SOCK_STREAM, 6, "", (ip, port, *(0, 0)[: 2 if ":" in ip else 0]))
            for ip in ips
        ]

    return resolve, asked


@pytest.mark.parametrize(
    "ips",
    [
        ("127.0.0.1",),
        ("10.0.0.5",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("93.184.215.14", "127.0.0.1"),
    ],
)
def test_a_name_that_leads_inside_is_refused(server: ImageServer, pem: Path, ips: tuple[str, ...]):
    """Kind: DNS that answers with an address of this machine or of its network, as the only one or among others."""
    resolve, _ = resolver(*ips, port=server.port)
    before = sum(server.asked.values())
    with pytest.raises(BadImage, match="which is no public address: name its network"):
        reader(server, pem, f"images.example:{server.port}", resolve=resolve).get(
            server.url("/image", "images.example")
        )
    assert sum(server.asked.values()) == before


def test_a_network_that_is_named_may_be_reached_and_a_name_is_looked_up_once(server: ImageServer, pem: Path):
    """The connection goes to the address that was judged; a second look-up could answer with another."""
    resolve, asked = resolver("127.0.0.1", port=server.port)
    hosts = f"images.example:{server.port},127.0.0.0/8"
    got = reader(server, pem, hosts, resolve=resolve).get(server.url("/image", "images.example"))
    assert (got, asked) == (FILE, ["images.example"])


def test_localhost_names_itself(server: ImageServer, pem: Path):
    """It cannot be anything but this machine; whoever names it means that."""
    assert reader(server, pem, f"localhost:{server.port}").get(server.url("/image", "localhost")) == FILE


def test_without_tls_only_where_it_is_named_so(plain: ImageServer, pem: Path):
    """http://host in the setting, and no redirect leads there from elsewhere."""
    with pytest.raises(BadImage, match=r"the server http://127\.0\.0\.1:"):
        reader(plain, pem, plain.host).get(plain.url("/image"))
    assert reader(plain, pem, f"http://{plain.host}").get(plain.url("/image")) == FILE


def test_a_certificate_of_nobody_is_refused(server: ImageServer):
    """Encryption to an unknown server is none."""
    images = RemoteImages(AllowedHosts.of(server.host), {}, retry=RetryPolicy(attempts=3), bounds=Bounds())
    with pytest.raises(BadImage, match="its certificate is not trusted"):
        images.get(server.url("/image"))


@pytest.mark.parametrize(
    ("ip", "is_public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_public(ip: str, is_public: bool):
    """Also of those that lie inside another: mapped, 6to4 and NAT64."""
    assert _is_public(ip_address(ip)) is is_public


@pytest.mark.parametrize(
    "entry",
    ["a b", "https://host/path", "ftp://host", "host:port", "10.0.0.1/8", "0.0.0.0/0", "::/0", "user@host", "::1", "*"],
)
def test_a_setting_that_is_none_is_refused(entry: str):
    """At once, and not when the first image is asked for."""
    if entry == "*":
        assert AllowedHosts.of(entry).origins == {("https", "*", 443)}  # a name that no address has
        return
    with pytest.raises(BadConfig, match="ALSERVICE_IMAGE_HOSTS"):
        RemoteImages.of(Settings(image_hosts=f"www.example.org,{entry}"))


@pytest.mark.parametrize("entry", ["Bucket", "b", "bucket?acl=x", "bucket?endpoint_url=ftp://x", "bucket/key"])
def test_a_bucket_that_is_none_is_refused(entry: str):
    """With the name of the setting."""
    with pytest.raises(BadConfig, match="ALSERVICE_IMAGE_BUCKETS"):
        RemoteImages.of(Settings(image_buckets=entry))


def test_objects_of_named_buckets_are_read(moto: S3Server, monkeypatch: pytest.MonkeyPatch):
    """Signed with the credentials of the environment; no other bucket is, and a missing object is named."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3", endpoint_url=moto.endpoint_url)
    client.create_bucket(Bucket="survey-images")
    client.put_object(Bucket="survey-images", Key="a b/c+d%.png", Body=FILE)
    images = RemoteImages.of(Settings(image_buckets=f"survey-images?endpoint_url={moto.endpoint_url}"))
    assert images.get("s3://survey-images/a%20b/c+d%25.png") == FILE
    with pytest.raises(BadImage, match="/survey-images/none: the server answers 404") as raised:
        images.get("s3://survey-images/none")
    assert "Signature" not in raised.value.message
    with pytest.raises(BadImage, match="the bucket 'galaxies' is not one of ALSERVICE_IMAGE_BUCKETS"):
        images.get("s3://galaxies/a.png")


def test_a_bucket_without_credentials_ends_the_reading(monkeypatch: pytest.MonkeyPatch):
    """Not one fault a row: nothing of it could be read."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    images = RemoteImages.of(Settings(image_buckets="bucket?endpoint_url=http://127.0.0.1:9&region=eu-west-1"))
    with pytest.raises(ObjectStoreRefused, match=r"[Cc]redentials"):
        images.get("s3://bucket/key")


def test_messages_tell_no_secret():
    """Logins and queries of addresses stay out of faults and logs, and no address goes on without end."""
    assert shown_address("https://me:pass@host/a?token=s#f") == "https://host/a"
    assert len(shown_address("https://host/" + "x" * 5000)) < 250


def test_threads_share_a_reader(plain: ImageServer, pem: Path):
    """Eight at a time, each with its own connection."""
    images, got = reader(plain, pem), []
    threads = [threading.Thread(target=lambda: got.append(images.get(plain.url("/image")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [FILE] * 8

"""Real S3 servers on free loopback ports, for tests."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from moto.server import ThreadedMotoServer


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server, the one bucket it starts with, and how to reach it."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        """What the AWS credential chain reads; everything else it might look at is switched off."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
        }

    def url(self, prefix: str = "") -> str:
        """Return the address that `open_objects` takes."""
        return f"s3://{self.bucket}/{prefix}?endpoint_url={self.endpoint_url}"


@contextmanager
def rclone_server(*, bucket: str = "galaxies") -> Iterator[S3Server]:
    """Run ``rclone serve s3``, which checks signatures, over an empty folder with one bucket."""
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    assert rclone is not None, "rclone is missing: install the dev extra"
    access_key, secret_key = "test-key", "test-secret"
    with TemporaryDirectory(prefix="rclone-s3-") as folder:
        (Path(folder) / bucket).mkdir()
        command = [rclone, "serve", "s3", "--config", "/dev/null", "--addr", "127.0.0.1:0"]
        command += ["--auth-key", f"{access_key},{secret_key}", folder]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            yield S3Server(
                endpoint_url=_announced_url(process),
                access_key=access_key,
                secret_key=secret_key,
                bucket=bucket,
            )
        finally:
            process.terminate()
            process.communicate(timeout=10)


@contextmanager
def moto_server(*, bucket: str = "galaxies") -> Iterator[S3Server]:
    """Run moto's server in a thread: it checks no signatures, but has the conditional writes and errors of AWS.

    Its bucket is made by the first client that asks for it, not here.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(
            endpoint_url=f"http://{host}:{port}",
            access_key="any",
            secret_key="any",
            bucket=bucket,
        )
    finally:
        server.stop()


def _announced_url(process: subprocess.Popen[str]) -> str:
    """Return the address that rclone prints once it listens."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "Starting s3 server on [" in line:
            return line.split("[", 1)[1].split("]", 1)[0].rstrip("/")
    raise AssertionError(f"rclone did not start: {''.join(seen)}")

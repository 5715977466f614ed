"""Images and containers without an engine: buildah builds and mounts, namespaces of the kernel run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

ROOT: Final = Path(__file__).resolve().parents[2]
USER: Final = "10001:10001"
BASE: Final = "localhost/python:3.11-slim-by-debootstrap"

_DOCUMENTS: Final = (
    "/var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /debootstrap"
)
"""What python:3.11-slim leaves out as well."""

_RUN: Final = """
set -e
mount --bind "$R" "$R"; mount -o remount,bind,ro "$R"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
mount --bind "$V" "$R/var/lib/alservice"
mount --rbind /dev "$R/dev"; mount -t proc proc "$R/proc"
exec chroot --userspec="$U" "$R" "$@"
"""
"""A container: the image's root bound read only, a volume and a /tmp that can be written, and no root's rights."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images in a folder of their own.

    Parameters
    ----------
    folder
        Layers, base and wheels.
    """

    folder: Path

    def buildah(self, *words: str, output: TextIO | int | None = None) -> str:
        """Run buildah on the folder's store, and return what it prints."""
        store = ["buildah", "--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        done = subprocess.run(
            [*store, "--storage-driver", self.driver(), *words],
            check=True,
            cwd=ROOT,
            text=True,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT if output else None,
        )
        return (done.stdout or "").strip()

    @staticmethod
    def driver() -> str:
        """Return overlay where the kernel has it; vfs, which copies each layer whole, elsewhere."""
        return "overlay" if "\toverlay\n" in Path("/proc/filesystems").read_text(encoding="utf-8") else "vfs"

    def has(self, image: str) -> bool:
        """Return whether an image is there."""
        return bool(self.buildah("images", "--quiet", "--filter", f"reference={image}"))

    def make_base(self) -> None:
        """Make the base of Debian's packages: minimal, with Python 3.11 as ``python``, without documents."""
        if self.has(BASE):
            return
        root = self.folder / "base"
        mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
        commands = [
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), mirror],
            ["chroot", str(root), "apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3.11-venv"],
            ["chroot", str(root), "ln", "-sf", "/usr/bin/python3.11", "/usr/local/bin/python"],
            ["chroot", str(root), "sh", "-c", f"rm -rf {_DOCUMENTS}"],
        ]
        with (self.folder / "base.log").open("w") as log:
            for command in commands:
                subprocess.run(command, check=True, stdout=log, stderr=log)
        container = self.buildah("from", "--pull-never", "scratch")
        mounted = self.buildah("mount", container)
        subprocess.run(["cp", "-a", f"{root}/.", mounted], check=True)
        self.buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.buildah("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def fetch_wheels(self, torch: str) -> Path:
        """Fetch what the locks name, by digest, on this machine: a build then asks no registry. Return the folder."""
        wheels = self.folder / "wheels"
        locks = self.folder / "locks.txt"
        parts = [(ROOT / "deploy" / "locks" / name).read_text(encoding="utf-8") for name in (torch, "product.txt")]
        # The base may have an older patch of Python than this machine.
        locks.write_text("".join(parts).replace(" ; python_full_version < '3.11.3'", ""), encoding="utf-8")
        page = "https://download.pytorch.org/whl/cpu/torch/"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--retries",
            "0",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]
        sources = ["--find-links", str(wheels), "--find-links", page, "--require-hashes", "-r", str(locks)]
        wheels.mkdir(exist_ok=True)
        with (self.folder / "wheels.log").open("w") as log:
            subprocess.run([*pip, "--dest", str(wheels), *sources], check=True, stdout=log, stderr=log)
        return wheels

    def build(self, target: str, tag: str, *, revision: str, torch: str = "cpu") -> float:
        """Build one target; return the seconds that it took. Its log is in the folder."""
        wheels = self.fetch_wheels(f"torch-{torch}.txt")
        arguments = {"BASE": BASE, "TORCH": torch, "WHEELS": "/wheels", "PIP_NO_INDEX": "1", "REVISION": revision}
        began = time.monotonic()
        with (self.folder / f"{target}.log").open("w") as log:
            self.buildah(
                *(
                    "bud",
                    "--isolation",
                    "chroot",
                    "--pull-never",
                    "--network",
                    "host",
                    "--format",
                    "docker",
                    "--layers",
                ),
                *("--file", "docker/Dockerfile", "--target", target, "--volume", f"{wheels}:/wheels:ro", "--tag", tag),
                *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
                ".",
                output=log,
            )
        return time.monotonic() - began

    def inspect(self, tag: str) -> dict[str, Any]:
        """Return the configuration of an image: User, Env, Cmd, Healthcheck."""
        document = json.loads(self.buildah("inspect", "--type", "image", tag))
        found: dict[str, Any] = document["Docker"]["config"]
        return found

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """Yield the root of an image's files, mounted."""
        container = self.buildah("from", "--pull-never", tag)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)


@dataclass(kw_only=True)
class Containers:
    """Containers of one image, on this machine's network; those left in the background end with the block.

    Parameters
    ----------
    root
        The image's files.
    image
        The image's configuration.
    volume
        What is mounted at /var/lib/alservice.
    logs
        Where each container's output goes.
    settings
        Environment of every container, beside the image's own.
    """

    root: Path
    image: Mapping[str, Any]
    volume: Path
    logs: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, words: Sequence[str], settings: Mapping[str, str]) -> list[str]:
        """Return the command that runs words in a container."""
        environment = [*self.image["Env"], *(f"{k}={v}" for k, v in {**self.settings, **settings}.items())]
        inner = ["env", "-i", "-C", self.image["WorkingDir"] or "/", "HOME=/var/lib/alservice", *environment, *words]
        outer = ["env", f"R={self.root}", f"V={self.volume}", f"U={self.image['User']}"]
        return [*outer, "unshare", "--mount", "--propagation", "private", "sh", "-c", _RUN, "container", *inner]

    def run(self, *words: str, fails: bool = False, **settings: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(self.command(words, settings), capture_output=True, text=True, check=False, timeout=900)
        with (self.logs / "commands.log").open("a") as log:
            log.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}\n")
        if (done.returncode != 0) != fails:
            raise SystemExit(
                f"{' '.join(words)[:200]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"[:4000]
            )
        return done.stdout.strip()

    def start(self, name: str, *words: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a command in the background; its output goes to a log of its name."""
        with (self.logs / f"{name}.log").open("ab") as log:
            command = self.command(words, settings)
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a container in order, and at last by force; what it started ends with it."""
        for force in (False, True):
            if process.poll() is None:
                os.killpg(process.pid, 9 if force else 15)
                try:
                    process.wait(timeout=40)
                except subprocess.TimeoutExpired:
                    continue
        self.running.remove(process)

    def stop_all(self) -> None:
        """End every container, the newest first."""
        for process in reversed([*self.running]):
            self.stop(process)


def wait_for(url: str, seconds: float = 120, **headers: str) -> float:
    """Wait until an address answers 200; return the seconds."""
    began = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as reply:
                if reply.status == 200:
                    return time.monotonic() - began
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() - began > seconds:
                raise
        time.sleep(0.5)

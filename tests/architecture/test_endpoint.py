"""No process of ours can reach the real Zooniverse by accident, whatever thread it works in."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.rehearsals import environment
from tests.support.shared import ROOT

IN_A_NEW_THREAD = """
import threading
from alservice.factory import open_factory

with open_factory():
    from panoptes_client.panoptes import Panoptes
    seen = []
    thread = threading.Thread(target=lambda: seen.append(Panoptes.client().endpoint))
    thread.start()
    thread.join()
print(seen[0])
"""


def test_a_new_thread_of_any_process_talks_to_this_machine() -> None:
    """The client's silent default in a new thread is the public site; ours is a port nobody serves."""
    with tempfile.TemporaryDirectory(prefix="alservice-endpoint-") as folder:
        ran = subprocess.run(
            [sys.executable, "-c", IN_A_NEW_THREAD],
            env=environment(Path(folder)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().startswith("http://127.0.0.1:")


def test_the_test_process_itself_is_fenced() -> None:
    """The suite sets the endpoint before anything is imported, for every thread."""
    import os

    assert os.environ["PANOPTES_ENDPOINT"].startswith("http://127.0.0.1:")

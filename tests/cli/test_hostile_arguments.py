"""Arguments that no database or calendar holds: one line, no traceback, and before anything is opened."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from alservice.cli import app
from tests.support.rehearsals import environment
from tests.support.shared import ROOT

HUGE = "1" + "0" * 400


def number_options() -> list[tuple[list[str], str]]:
    """Return every option that takes a number: its command and its name."""
    found = []
    open_ = [([], get_command(app))]
    while open_:
        words, command = open_.pop()
        open_ += [([*words, name], below) for name, below in getattr(command, "commands", {}).items()]
        found += [
            (words, option.opts[0])
            for option in command.params
            if option.opts[0].startswith("--") and re.search(r"\b(int|float)\b", str(option.type_descriptor.annotation))
        ]
    return found


@pytest.mark.parametrize(("words", "option"), number_options(), ids=str)
@pytest.mark.parametrize("value", [HUGE, "inf", "nan", "9223372036854775808"])
def test_no_number_is_too_large_for_a_typed_error(words: list[str], option: str, value: str) -> None:
    """Kind: `--seed` of 400 digits. Whatever takes a number takes none of more than 63 bits, and none without end."""
    ran = CliRunner().invoke(app, [*words, option, value])
    assert ran.exit_code in {1, 2}, ran.output
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception


def test_there_are_options_that_take_numbers() -> None:
    """Else the test above would say nothing."""
    assert len(number_options()) > 30


def test_an_argument_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    """Kind: names are recorded, and bytes cannot be."""
    ran = subprocess.run(
        [sys.executable, "-m", "alservice.cli", "campaign", "create", "--config", b"a\xff.yaml"],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.strip() == r"error: [bad-input] argument 4, 'a\udcff.yaml', is not UTF-8"

"""What commands share: arguments that cannot be used end in one line before anything is opened; tables."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from alservice.cli import app
from alservice.cli.shell import print_table
from alservice.constants import VERSION
from alservice.science.scorecard import TextTable
from alservice.telemetry import code_revision
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


ROWS = (("smooth", "1,234", "0.0712 [0.0691, 0.0733]"), ("bar [weak] :x:", "7", "word " * 40 + "end"))
HEAD = ("question", "galaxies", "RMSE")


def test_tables_in_pipes_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Kind: wrapped, coloured or read as markup. What a pipe reads is what files hold."""
    print_table(ROWS, head=HEAD, title="questions", right={1, 2})
    assert capsys.readouterr().out == f"{TextTable(title='questions', head=HEAD, rows=ROWS).text()}\n"
    print_table([("9", "tokens"), ("10", "x")], right={0})
    print_table([])
    assert capsys.readouterr().out == " 9  tokens\n10  x\n"


class Terminal(io.StringIO):
    """Standard output that a person looks at."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_tables_at_a_terminal_keep_within_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: cut off. Every word is there, and no line is longer than the screen is wide."""
    for name, value in (("COLUMNS", "60"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", screen := Terminal())
    print_table(ROWS, head=HEAD, right={1, 2})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    shown = " ".join(lines)
    assert shown.count("word") == 40
    assert all(text in shown for text in ("smooth", "1,234", "[weak]", ":x:", "0.0712", "end", "question", "─"))


def test_the_version_is_printed_with_its_revision() -> None:
    """What a person names when something is wrong: the version, and the commit where there is a checkout."""
    ran = CliRunner().invoke(app, ["--version"])
    assert ran.exit_code == 0
    assert ran.output == f"alservice {code_revision()}\n"
    assert code_revision().startswith(VERSION)

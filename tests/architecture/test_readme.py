"""The README's lines of Python run as printed."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.support.shared import ROOT


@pytest.mark.usefixtures("one_core")
def test_the_ten_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of their own; each result is what the line after it needs.

    Kind: an example that stops at its third line.
    """
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(block.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    predictions, scores = names["predictions"], names["scores"]
    assert isinstance(predictions, pd.DataFrame)
    assert isinstance(scores, pd.Series)
    assert set(scores.index) == set(predictions["galaxy_id"])
    assert (tmp_path / "model" / "card.json").exists()

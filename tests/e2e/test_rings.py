"""A project of one's own, as `deploy/docs/rings.md` prints it: its Python and its commands, at the smallest sizes."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alservice.campaigns.trees import load_tree
from tests.support.postgres import scratch_folder
from tests.support.printed import block_commands
from tests.support.rehearsals import lines_of, run_alservice, run_here
from tests.support.shared import ROOT, shared_data

PAGE = (ROOT / "deploy" / "docs" / "rings.md").read_text(encoding="utf-8")
DATA = "gz_decals_rings_470_256.parquet"
QUICK = ["--device", "cpu", "--px", "16", "--steps", "2"]
SMALLEST = {
    "alservice tree validate": [],
    "alservice tree show": [],
    "alservice train --data rings.parquet": [*QUICK, "--batch", "8", "--galaxies", "40", "--threads", "1"],
    "alservice predict --model ring-model": ["--device", "cpu", "--galaxies", "24", "--draws", "2"],
    "alservice evaluate --predictions ring-predictions.parquet": ["--json"],
    "alservice backfill --data rings.parquet": [
        *QUICK, "--passes", "0", "--seeds", "1", "--rounds", "1", "--initial", "8", "--batch", "8", "--galaxies", "60",
        "--workers", "1",
    ],
    "alservice rehearse --data rings.parquet": ["--galaxies", "40", "--cycles", "1", "--json"],
    "alservice campaign create --config deploy/campaigns/decals-rings.yaml": [],
    "alservice catalogue import rings.parquet": ["--galaxies", "20"],
}  # fmt: skip
"""How each command begins, and what makes it small; later options count."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Make a folder with the table that the page makes; skip where the data are absent."""
    with scratch_folder() as made:
        (made / DATA).symlink_to(shared_data() / DATA)
        (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(made)
            exec(compile(program, "rings.md", "exec"), {})
        yield made


def words_of(begins: str, folder: Path) -> list[str]:
    """Return the page's command that begins so, in its smallest form, its own files in a folder."""
    (printed,) = [command for command in block_commands(PAGE) if command.startswith(begins)]
    _, *words = shlex.split(printed)
    placed = [str(folder / word) if re.match(r"rings?[-.]", word) else word for word in words]
    return [*placed, *SMALLEST[begins]]


def here(begins: str, folder: Path) -> str:
    """Run a command of the page in this process; return what it printed."""
    ran = run_here(folder / "work", *words_of(begins, folder))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_every_command_of_the_page_is_tried() -> None:
    """A new one needs a size."""
    assert all(any(printed.startswith(begins) for begins in SMALLEST) for printed in block_commands(PAGE))


def test_the_tree_trains_and_is_carried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the table to figures; neither predicting nor evaluating is told the tree."""
    monkeypatch.chdir(ROOT)
    assert "tree decals-rings: 1 question, 2 answers" in here("alservice tree validate", folder)
    assert "has-ring" in here("alservice tree show", folder)
    here("alservice train --data rings.parquet", folder)
    card = json.loads((folder / "ring-model" / "card.json").read_text(encoding="utf-8"))
    assert (card["tree"], card["questions"][0]["name"]) == ("decals-rings", "has-ring")
    here("alservice predict --model ring-model", folder)
    assert "has-ring_yes_mean" in pq.read_schema(folder / "ring-predictions.parquet").names
    (found,) = here("alservice evaluate --predictions ring-predictions.parquet", folder).splitlines()
    assert json.loads(found)["matched"] > 0


def test_the_backfill_replays_the_tag(folder: Path, prefect_url: str) -> None:
    """In a process of its own, as Prefect needs; its curves are of the file's tree."""
    words = words_of("alservice backfill --data rings.parquet", folder)
    ran = run_alservice(folder / "work", *words, PREFECT_API_URL=prefect_url)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert (folder / "ring-backfill" / "report.html").exists()


def test_the_loop_runs_on_the_question_and_the_campaign_keeps_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prefect_url: str
) -> None:
    """Two cycles with the local Zooniverse; then a campaign whose tree's file is not needed any more.

    Kind: a tree that is known by a name that nobody packaged, to every step that reads it again.
    """
    monkeypatch.chdir(ROOT)
    work = folder / "ring-rehearsal"
    words = words_of("alservice rehearse --data rings.parquet", folder)
    cycles = lines_of(run_alservice(work, *words, PREFECT_API_URL=prefect_url))
    assert [(line["cycle"], line["state"]) for line in cycles] == [(0, "done"), (1, "done")]
    assert cycles[1]["nll_per_vote"] is not None
    assert "decals-rings" in (work / "report-rehearsal.html").read_text(encoding="utf-8")
    made = run_here(work, "tree", "from-workflow", "--campaign", "rehearsal", "--out", str(folder / "live.yaml"))
    assert "1 question, 2 answers" in made.stdout, made.stderr
    assert load_tree(folder / "live.yaml").questions[0].labels == ("yes", "no")
    (folder / "trees").mkdir()
    tree = folder / "trees" / "decals-rings.yaml"
    tree.write_bytes((ROOT / "deploy" / "trees" / "decals-rings.yaml").read_bytes())
    (folder / "campaigns").mkdir()
    config = folder / "campaigns" / "decals-rings.yaml"
    config.write_bytes((ROOT / "deploy" / "campaigns" / "decals-rings.yaml").read_bytes())
    words = words_of("alservice campaign create --config deploy/campaigns/decals-rings.yaml", folder)
    words[words.index("deploy/campaigns/decals-rings.yaml")] = str(config)
    assert "is at version 1" in run_here(work, *words).stdout
    tree.unlink()
    ran = run_here(work, *words_of("alservice catalogue import rings.parquet", folder))
    assert "20 galaxies added" in ran.stdout, ran.stdout + ran.stderr

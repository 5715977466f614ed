"""Commands of question trees: what they print is what can be used, and what they refuse is one line."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from alservice.campaigns.trees import load_tree
from alservice.cli import app
from alservice.zooniverse.workflow import tasks_of

HEAD = ("workflow_id", "display_name", "version", "first_task", "tasks", "strings", "minor_version")


def run(*words: object, code: int = 0) -> Result:
    """Run a command in this process; it ends as expected, in no traceback."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def export(path: Path) -> Path:
    """Return a workflows export: three versions of Galaxy Zoo 2, one with another label, and a workflow that draws."""
    tasks = tasks_of(load_tree("gz2"))
    worded = json.loads(json.dumps(tasks))
    worded["T0"]["answers"][0]["label"] = "Round"
    tail = {"type": "shortcut", "answers": [{"label": "Nothing here"}]}
    tasks["T0"]["unlinkedTask"] = "T20"
    drawn = {"T0": {"type": "drawing", "instruction": "Mark it", "next": "T1"}, "T1": tasks["T6"] | {"answers": []}}
    rows = [
        (10, "GZ2", 28, "T0", {**worded}, 3),
        (10, "GZ2", 28, "T0", {**tasks, "T20": tail}, 30),
        (10, "GZ2", 9, "T0", {**tasks, "T20": tail}, 1),
        (11, "Marks", 1, "T0", drawn, 1),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for number, name, version, first, content, minor in rows:
            writer.writerow([number, name, version, first, json.dumps(content), "{}", minor])
    return path


def test_a_packaged_tree_is_a_file_to_begin_with(tmp_path: Path) -> None:
    """As JSON it is read back as itself; as text it has its columns."""
    (tmp_path / "gz2.json").write_text(run("tree", "show", "gz2", "--json").output, encoding="utf-8")
    assert load_tree(tmp_path / "gz2.json") == load_tree("gz2")
    shown = run("tree", "show", "gz2").output
    assert "11 questions, 37 answers" in shown
    assert "smooth-or-featured_smooth, smooth-or-featured_featured-or-disk" in shown
    assert "a workflow of 11 tasks asks it" in run("tree", "validate", tmp_path / "gz2.json").output


def test_an_export_becomes_a_tree_and_says_what_it_leaves(tmp_path: Path) -> None:
    """The newest version of the workflow that is named; the others are read or named, and rules that are needed printed."""
    file = export(tmp_path / "workflows.csv")
    assert "10, 11: name one" in run("tree", "from-workflow", file, "--out", tmp_path / "t.yaml", code=1).output
    said = run("tree", "from-workflow", file, "--workflow", 10, "--out", tmp_path / "t.yaml").output
    for part in (
        "11 questions, 37 answers",
        "of version 28.30 of workflow 10",
        "task T0 has the shortcut T20",
        "- {task: T20, ignored: true}",
        "of 2 other versions in the file 1 are read with it as they are",
        "task T0 of version 28.3 has the answer 'round'",
    ):
        assert part in said
    made = load_tree(tmp_path / "t.yaml")
    assert [q.labels for q in made.questions if q.task == "T1"] == [
        q.labels for q in load_tree("gz2").questions if q.task == "T1"
    ]
    again = run(
        "tree", "from-workflow", file, "--workflow", 10, "--version", "28.3", "--out", tmp_path / "u.yaml"
    ).output
    assert "of version 28.3 of" in again
    assert (
        "is there already"
        in run("tree", "from-workflow", file, "--workflow", 10, "--out", tmp_path / "t.yaml", code=1).output
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["from-workflow", "w.csv", "--workflow", "11", "--out", "d.yaml"], "T0 (drawing)"),
        (["from-workflow", "w.csv", "--workflow", "12", "--out", "d.yaml"], "has no workflow 12; it has 10, 11"),
        (["from-workflow", "w.csv", "--workflow", "10", "--out", "d.txt"], "a tree is written as .yaml"),
        (["from-workflow", "absent.csv", "--out", "d.yaml"], "absent.csv: No such file"),
        (["from-workflow", "w.csv", "--campaign", "c", "--out", "d.yaml"], "name a file with the workflow, or"),
        (["validate", "w.csv"], "w.csv"),
        (["validate", "/dev/zero"], "is a device"),
        (["show", "gz3"], "known trees: gz-candels"),
    ],
)
def test_what_is_refused_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, and no file is left."""
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "w.csv")
    assert said in run("tree", *words, code=1).output
    assert not list(tmp_path.glob("d.*"))

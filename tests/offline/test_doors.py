"""Formats by doors: each door takes a table in each format, and reads the same galaxies of it."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import alservice
from alservice.app import App
from alservice.backfill import votes_run
from alservice.backfill.options import BackfillOptions, VotesOptions
from alservice.backfill.plan import backfill_of, target_of
from alservice.backfill.run import keep_galaxies, read_galaxies
from alservice.catalogue.files import ReadAs
from alservice.catalogue.tables import ENDINGS
from alservice.cli import app
from alservice.errors import BadInput, BadVotes
from alservice.offline import commands
from alservice.offline.commands import TrainingOptions, evaluate_file, predict_file, train_on_file
from alservice.progress import NoProgress
from alservice.science.tree import load_tree
from alservice.storage.images import encode_png
from alservice.storage.run_folder import claim_folder
from tests.support.formats import WRITERS
from tests.support.shared import ROOT
from tests.support.worlds import make_campaign

RINGS = load_tree("gz-rings")
N = 24
IDS = [f"J{i:02}" for i in range(N)]
FORMATS = (
    "g.csv",
    "g.csv.gz",
    "semicolons.csv",
    "g.tsv",
    "g.ecsv",
    "g.parquet",
    "folder",
    "hats",
    "g.feather",
    "stream.arrow",
    "g.fits",
    "g.fits.gz",
    "g.vot",
)
TINY = {"px": 16, "batch": 4, "threads": 1}


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with galaxies, their images beside them, in every format; and a model, and what it predicts."""
    folder = tmp_path_factory.mktemp("survey")
    rng = np.random.default_rng(0)
    for name in IDS:
        (folder / f"{name}.png").write_bytes(encode_png(rng.integers(0, 255, (1, 16, 16), dtype=np.uint8)))
    yes = rng.integers(1, 9, N)
    position = {"ra": np.linspace(1, 3, N), "dec": np.linspace(-1, 1, N)}
    frame = pd.DataFrame(
        {"galaxy_id": IDS, "image_path": [f"{i}.png" for i in IDS], **position, "ring_yes": yes, "ring_no": 10 - yes}
    )
    for name in FORMATS:
        WRITERS[name](frame, folder / name)
    path, model = folder / "g.parquet", folder / "model"
    alservice.train(path, tree="gz-rings", out=model, steps=1, network="small", device="cpu", **TINY)
    alservice.predict(model, path, out=folder / "predictions.parquet", draws=2, device="cpu")
    return folder


class Read(Exception):  # a signal, not a failure
    """What a training would have been given."""


def by_import(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Import a catalogue."""
    factory.campaigns.save(make_campaign(tree="gz-rings"))
    imported = factory.catalogue.import_file("test", data)
    assert imported.understood.votes == "counts"
    return [galaxy.galaxy_id for galaxy in factory.catalogues.galaxies(imported.catalogue.id)]


def by_train(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Read what `alservice train` trains on."""
    told: list[Any] = []

    def stop(_folder: object, voted: Any, *_: object) -> None:
        raise Read(voted)

    options: dict[str, Any] = {"tree": RINGS, "galaxies": None, "device": "cpu", "progress": NoProgress()}
    config = lambda n: TrainingOptions(**TINY, steps=1).config(n, "cpu")  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "_train", stop)
        with pytest.raises(Read) as read:
            train_on_file(data, out, config=config, on_understood=told.append, **options)
    assert [(each.n_rows, each.votes, each.median_votes, each.id_example) for each in told] == [
        (N, "counts", 10, "J00")
    ]
    voted = read.value.args[0]
    assert voted.counts.sum() == 10 * N
    return list(voted.galaxy_ids)


def by_predict(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Predict."""
    made = predict_file(
        [survey / "model"],
        data,
        out.with_suffix(".parquet"),
        draws=1,
        keep_draws=False,
        device="cpu",
        progress=NoProgress(),
    )
    return sorted(pd.read_parquet(made.out)["galaxy_id"])


def by_evaluate(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Evaluate predictions on the votes of a table."""
    options: dict[str, Any] = {"tree": RINGS, "members_only": False, "seed": 0, "out": None, "progress": NoProgress()}
    found = evaluate_file(survey / "predictions.parquet", data, **options)
    assert (found.without_votes, found.without_prediction) == ((), ())
    return IDS if found.n_matched == N else []


def by_python(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Predict by the package's own function."""
    model = survey / "model"
    return sorted(alservice.predict(model, data, draws=1, device="cpu", progress=NoProgress())["galaxy_id"])


def by_backfill(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Read the galaxies of a backfill; those of the evaluation stream judge, and none is left out."""
    sizes: dict[str, Any] = {"initial": 4, "batch": 2, "rounds": 1, "px": 16, "seeds": 1}
    asked = backfill_of(BackfillOptions(out=out, data=data, tree="gz-rings", device="cpu", **sizes))
    with claim_folder(out, asked.document()) as folder:
        keep_galaxies(asked, folder, NoProgress())
    return sorted(read_galaxies(out, target_of(RINGS, "all"))[0].galaxy_ids)


def by_backfill_votes(survey: Path, data: Path, out: Path, factory: App) -> list[str]:
    """Read the galaxies of a backfill of votes."""
    options = VotesOptions(out=out, data=data, tree="gz-rings", px=16, steps=1, device="cpu")
    asked = votes_run._asked(options)
    with claim_folder(out, asked.document()) as folder:
        return sorted(votes_run._read(asked, folder, NoProgress()).galaxy_ids)


DOORS: dict[str, Callable[[Path, Path, Path, App], list[str]]] = {
    "import": by_import,
    "train": by_train,
    "predict": by_predict,
    "evaluate": by_evaluate,
    "python": by_python,
    "backfill": by_backfill,
    "backfill-votes": by_backfill_votes,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_door_reads_every_format(name: str, door: str, survey: Path, tmp_path: Path, request) -> None:
    """One list of formats: the table of the documents, cell by cell."""
    factory = request.getfixturevalue("factory") if door == "import" else None
    assert DOORS[door](survey, survey / name, tmp_path / "out", factory) == IDS


@pytest.mark.parametrize("door", DOORS)
def test_every_door_names_a_file_that_is_cut(door: str, survey: Path, tmp_path: Path, request) -> None:
    """And makes nothing of half a table."""
    path = tmp_path / "cut.parquet"
    path.write_bytes((survey / "g.parquet").read_bytes()[:-900])
    factory = request.getfixturevalue("factory") if door == "import" else None
    with pytest.raises(BadInput, match=r"cut\.parquet cannot be read"):
        DOORS[door](survey, path, tmp_path / "out", factory)


def test_columns_are_named_at_the_doors(survey: Path, tmp_path: Path) -> None:
    """``--column`` by command and by function; another reading of the same file is another run."""
    frame = pd.read_parquet(survey / "g.parquet")
    frame = frame.rename(columns={"galaxy_id": "name", "image_path": "png_loc"}).assign(bar_length=2.5)
    path = survey / "named.csv"
    frame.to_csv(path, index=False)
    said = {"id": "name", "image": "png_loc"}
    typed = [part for role, name in said.items() for part in ("--column", f"{role}={name}")]
    run = partial(CliRunner().invoke, app)
    train = ["train", "--data", str(path), "--tree", "gz-rings", "--out", str(tmp_path / "m"), "--steps", "1"]
    train += ["--px", "16", "--batch", "4", "--threads", "1", "--device", "cpu", "--network", "small"]
    trained = run([*train, *typed])
    assert trained.exit_code == 0, trained.output
    assert "named.csv: 24 rows, layout paths, ids in 'name' such as 'J00'" in trained.stderr
    assert "left aside: 1 columns: bar_length" in trained.stderr
    read = alservice.train(
        path, tree=RINGS, out=tmp_path / "m", columns=said, steps=1, network="small", device="cpu", **TINY
    ).card["read"]
    assert (read["id_column"], read["median_votes"], read["left_aside"]) == ("name", 10.0, ["bar_length"])
    out = str(tmp_path / "p.parquet")
    predicted = run(
        ["predict", "--model", str(tmp_path / "m"), "--data", str(path), "--out", out, "--draws", "1", *typed]
    )
    assert "24 galaxies predicted, 0 rows failed" in predicted.stdout
    judged = run(["evaluate", "--predictions", out, "--votes", str(path), "--tree", "gz-rings", "--column", "id=name"])
    assert "24 galaxies matched" in judged.stdout
    refused = run(["evaluate", "--predictions", out, "--votes", str(path), "--tree", "gz-rings", "--column", "id=no"])
    assert "named.csv: no column 'no'; it has name, png_loc" in refused.stderr
    options = VotesOptions(out=tmp_path, data=path, tree="gz-rings", column=("id=name", "image=png_loc"), device="cpu")
    assert votes_run._asked(options).document()["read_as"] == {"columns": said}
    assert ReadAs.of([f"{role}={name}" for role, name in said.items()]).document() == {"columns": said}


def test_votes_of_another_tree_name_it_at_the_doors(survey: Path, tmp_path: Path) -> None:
    """Before anything is trained or replayed."""
    asked = backfill_of(BackfillOptions(out=tmp_path, data=survey / "g.csv", tree="gz2", device="cpu"))
    with claim_folder(tmp_path, asked.document()) as folder, pytest.raises(BadVotes, match="those of --tree gz-rings"):
        keep_galaxies(asked, folder, NoProgress())
    options: dict[str, Any] = {"tree": load_tree("gz2"), "members_only": False, "seed": 0, "out": None}
    with pytest.raises(BadInput, match="is missing"):
        evaluate_file(survey / "predictions.parquet", survey / "g.csv", **options)


def test_the_documents_table_is_what_is_tested() -> None:
    """Its columns are the doors, its rows all endings that are read, and both kinds of folder."""
    page = (ROOT / "deploy" / "docs" / "train.md").read_text(encoding="utf-8")
    lines = (line for line in page.splitlines() if line.count("|") == len(DOORS) + 3 and "---" not in line)
    (_, *doors, _), *cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
    assert {door.lower() for door in doors} == set(DOORS)
    assert all(cell == "yes" for row in cells for cell in row[1:-1])
    told = set(re.findall(r"\.[a-z.]+", " ".join(row[0] for row in cells)))
    assert told == {ending for ending in ENDINGS if ending == ".fits.gz" or not ending.endswith(".gz")} | {".gz"}
    assert sum("folder" in row[0] for row in cells) == 2
    assert {"".join(Path(name.lower()).suffixes) for name in FORMATS} - {""} <= set(ENDINGS)

"""Train, predict and evaluate on files: what is written, what goes on after an interruption, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alservice.catalogue.galaxies import is_evaluation_member
from alservice.errors import BadInput, BadVotes, Conflict, NotFound
from alservice.ids import RoundedId
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.offline import prediction as predict_rows
from alservice.offline.commands import DRAWS, evaluate_file, predict_file, train_on_file
from alservice.offline.training import load_model
from alservice.progress import NoProgress
from alservice.science.posterior import question_totals
from tests.support.files import TREE, counts_of, ids_of, write_galaxies

N = 60
ANSWERS = [f"{column}_{suffix}" for column in TREE.columns for suffix in ("mean", "p05", "p95")]
COLUMNS = ["galaxy_id", *ANSWERS, *(f"{question.name}_precision" for question in TREE.questions)]


class Interrupts(NoProgress):
    """Presses Ctrl-C when work has advanced so often."""

    def __init__(self, after: int, what: str) -> None:
        self.left, self.what, self.now = after, what, ""

    def start(self, what: str, total: int | None) -> None:
        """Remember what is being done."""
        self.now = what

    def advance(self, n: int = 1) -> None:
        """Count down."""
        if self.now.startswith(self.what):
            self.left -= n
            if self.left < 0:
                raise KeyboardInterrupt


def config(n_rows: int, **changes: object) -> FitConfig:
    """Return a training of a second."""
    return FitConfig(
        **{"network": NetworkConfig(image_px=16), "steps": 8, "batch": 4, "looks": 4, "threads": 1} | changes
    )


def run_train(data: Path, out: Path, progress=None, **changes: object):
    """Train on a file."""
    return train_on_file(
        data,
        out,
        tree=TREE,
        config=lambda n: config(n, **changes),
        galaxies=None,
        device="cpu",
        progress=progress or NoProgress(),
    )


def run_predict(model: Path, data: Path, out: Path, progress=None, **options: object):
    """Predict a file."""
    options = {"draws": 5, "keep_draws": False, "device": "cpu"} | options
    return predict_file([model], data, out, progress=progress or NoProgress(), **options)


def run_evaluate(predictions: Path, votes: Path, **options: object):
    """Judge predictions."""
    options = {"tree": None, "members_only": False, "seed": 0, "out": None} | options
    return evaluate_file(predictions, votes, progress=NoProgress(), **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of galaxies, two of them with broken images."""
    return write_galaxies(tmp_path_factory.mktemp("data") / "galaxies.parquet", N, broken=(3, 40))


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model."""
    out = tmp_path_factory.mktemp("models") / "m"
    run_train(data, out)
    return out


def test_a_training_folder_has_all_that_a_model_is(data: Path, model: Path) -> None:
    """Weights, card with metrics and curve, plots, tables, faults; no checkpoint is left."""
    names = {path.name for path in model.iterdir()}
    plots = {f"{plot}.{kind}" for plot in ("training-curve", "reliability", "coverage") for kind in ("svg", "png")}
    assert (
        names
        == {"model.safetensors", "card.json", "run.json", "lock", "faults.csv", "metrics.json", "metrics.txt"} | plots
    )
    card = json.loads((model / "card.json").read_text())
    network, digest = load_model(model, device="cpu")
    assert card["weights"] == digest
    assert (card["tree_hash"], card["seed"], card["training"]["steps"]) == (TREE.hash, 0, 8)
    assert [look["step"] for look in card["history"]] == [2, 4, 6, 8]
    assert card["code_revision"]
    assert card["metrics"] == json.loads((model / "metrics.json").read_text())
    with (model / "faults.csv").open(newline="") as file:
        faults = list(csv.DictReader(file))
    assert [(f["row"], f["galaxy_id"], f["field"]) for f in faults] == [
        ("4", "J0003", "image"),
        ("41", "J0040", "image"),
    ]
    assert network.config == NetworkConfig(image_px=16)


def test_the_evaluation_stream_is_not_trained_on(model: Path) -> None:
    """Trained and judged galaxies are all that can be read; the judged ones are the members by hash."""
    card = json.loads((model / "card.json").read_text())
    readable = [i for i in ids_of(N) if i not in {"J0003", "J0040"}]
    members = [i for i in readable if is_evaluation_member(i, unbiased=True, seed=0, fraction=0.2)]
    assert card["metrics"]["n_galaxies"] == len(members) > 0
    assert card["n_galaxies"] == len(readable) - len(members)


@pytest.mark.parametrize("after", [0, 3, 7])
def test_an_interrupted_training_ends_in_the_same_bytes(data: Path, model: Path, tmp_path: Path, after: int) -> None:
    """Ctrl-C at any step, then the same command: the weights are those of a run that was never interrupted."""
    with pytest.raises(KeyboardInterrupt):
        run_train(data, tmp_path / "m", Interrupts(after, "train"))
    assert not (tmp_path / "m" / "card.json").exists()
    assert (tmp_path / "m" / "checkpoint.safetensors").exists() == (after >= 3)
    taken = Interrupts(N, "train")
    assert not run_train(data, tmp_path / "m", taken).was_there
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_a_finished_training_is_not_repeated(data: Path, model: Path) -> None:
    """The same command again reads nothing and trains nothing."""
    trained = run_train(data, model, Interrupts(-1, ""))
    assert trained.was_there
    assert trained.card == json.loads((model / "card.json").read_text())


def test_a_folder_of_another_run_is_refused(data: Path, model: Path, tmp_path: Path) -> None:
    """What differs is named; a folder with other files is not touched."""
    with pytest.raises(Conflict, match="training was"):
        run_train(data, model, seed=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"mine\.txt"):
        run_train(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_files_without_votes_or_galaxies_to_train_on_are_refused(tmp_path: Path) -> None:
    """No vote columns, or a single galaxy outside the stream."""
    with pytest.raises(BadVotes, match="no column of votes"):
        run_train(write_galaxies(tmp_path / "no.parquet", 5, votes=False), tmp_path / "a")
    with pytest.raises(BadVotes, match="left to train on"):
        run_train(write_galaxies(tmp_path / "one.parquet", 1), tmp_path / "b")
    with pytest.raises(BadVotes, match="row 1: image: "):
        run_train(write_galaxies(tmp_path / "broken.parquet", 1, broken=(0,)), tmp_path / "c")


def test_predictions_have_a_row_per_galaxy(data: Path, model: Path, tmp_path: Path) -> None:
    """Documented columns, order of the file, fractions that sum to 1 inside their intervals, faults beside."""
    predicted = run_predict(model, data, tmp_path / "p.parquet")
    assert (predicted.n_done, predicted.n_failed) == (N - 2, 2)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == COLUMNS
    assert table["galaxy_id"].to_pylist() == [i for i in ids_of(N) if i not in {"J0003", "J0040"}]
    mean, low, high = (
        np.stack([table[f"{column}_{suffix}"] for column in TREE.columns], axis=1) for suffix in ("mean", "p05", "p95")
    )
    np.testing.assert_allclose(question_totals(TREE, mean), 1, atol=1e-5)
    assert ((low < mean) & (mean < high)).all()
    with (tmp_path / "p.faults.csv").open(newline="") as file:
        assert [(f["row"], f["galaxy_id"]) for f in csv.DictReader(file)] == [("4", "J0003"), ("41", "J0040")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.faults.csv", "p.parquet"]


def test_draws_are_lists_on_request(data: Path, model: Path, tmp_path: Path) -> None:
    """T fractions per answer and galaxy that sum to 1 per question; CSV has no lists."""
    run_predict(model, data, tmp_path / "p.parquet", keep_draws=True, draws=7)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == [*COLUMNS, *(f"{column}_draws" for column in TREE.columns)]
    drawn = np.stack([np.array(table[f"{column}_draws"].to_pylist()) for column in TREE.columns], axis=-1)
    assert drawn.shape == (N - 2, 7, TREE.n_answers)
    np.testing.assert_allclose(question_totals(TREE, drawn), 1, atol=1e-4)
    with pytest.raises(BadInput, match=r"only \.parquet"):
        run_predict(model, data, tmp_path / "p.csv", keep_draws=True)


def test_votes_need_not_be_right_to_be_predicted(model: Path, tmp_path: Path) -> None:
    """A file without votes predicts like the one with; a file whose every row fails has an empty table."""
    with_votes = run_predict(model, write_galaxies(tmp_path / "a.parquet", 5), tmp_path / "pa.parquet")
    without = run_predict(model, write_galaxies(tmp_path / "b.parquet", 5, votes=False), tmp_path / "pb.parquet")
    assert pq.read_table(with_votes.out).equals(pq.read_table(without.out))
    about = json.loads(pq.read_schema(without.out).metadata[b"alservice"])
    assert (about["model"], about["tree"], about["draws"]) == (load_model(model, device="cpu")[1], "gz2", 5)
    broken = write_galaxies(tmp_path / "c.parquet", 2, broken=(0, 1))
    none = run_predict(model, broken, tmp_path / "pc.parquet")
    assert (none.n_done, none.n_failed, pq.read_table(none.out).num_rows) == (0, 2, 0)


def test_an_interrupted_prediction_goes_on(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished shards are not computed again, and the table is the one of a run that was never interrupted."""
    monkeypatch.setattr(predict_rows, "SHARD_ROWS", 16)
    run_predict(model, data, tmp_path / "whole.parquet")
    with pytest.raises(KeyboardInterrupt):
        run_predict(model, data, tmp_path / "p.parquet", Interrupts(30, "predict"))
    assert not (tmp_path / "p.parquet").exists()
    with pytest.raises(Conflict, match="draws was 5, now it is 6"):
        run_predict(model, data, tmp_path / "p.parquet", draws=6)
    sampled = []
    monkeypatch.setattr(
        predict_rows,
        "sample_ensemble",
        lambda network, images, **options: sampled.append(len(images)) or sample(network, images, **options),
    )
    done = run_predict(model, data, tmp_path / "p.parquet")
    assert len(sampled) == 2
    assert (done.n_done, done.n_failed) == (N - 2, 2)
    assert (tmp_path / "p.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


sample = predict_rows.sample_ensemble


def test_shards_do_not_change_the_numbers(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other shard sizes agree within 1e-4, draws included."""
    run_predict(model, data, tmp_path / "a.parquet", keep_draws=True)
    monkeypatch.setattr(predict_rows, "SHARD_ROWS", 7)
    run_predict(model, data, tmp_path / "b.parquet", keep_draws=True)
    a, b = (pq.read_table(tmp_path / name).to_pandas() for name in ("a.parquet", "b.parquet"))
    np.testing.assert_allclose(a[COLUMNS[1 : 1 + len(ANSWERS)]], b[COLUMNS[1 : 1 + len(ANSWERS)]], atol=1e-4)
    np.testing.assert_allclose(np.stack(a["bar_yes_draws"]), np.stack(b["bar_yes_draws"]), atol=1e-3)


def test_evaluation_joins_by_id_and_names_the_rest(data: Path, model: Path, tmp_path: Path) -> None:
    """Predictions without votes and votes without a prediction are named; figures and plots are written."""
    run_predict(model, data, tmp_path / "p.parquet", draws=DRAWS)
    votes = write_galaxies(tmp_path / "votes.parquet", 30, ids=[*ids_of(N)[10:30], *(f"X{i}" for i in range(10))])
    judged = run_evaluate(tmp_path / "p.parquet", votes, out=tmp_path / "e")
    assert judged.n_matched == 20 == judged.evaluation.n_galaxies
    assert len(judged.without_votes) == N - 2 - 20
    assert judged.without_prediction == tuple(f"X{i}" for i in range(10))
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())["n_galaxies"] == 20
    with (tmp_path / "e" / "unmatched.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == N - 2 - 20 + 10
    assert {"reliability.svg", "reliability.png", "coverage.svg", "metrics.txt"} <= {
        p.name for p in (tmp_path / "e").iterdir()
    }


def test_evaluation_of_the_stream_is_what_training_reported(data: Path, model: Path, tmp_path: Path) -> None:
    """The same galaxies; likelihoods of the table's Dirichlets are near those of the whole posterior."""
    run_predict(model, data, tmp_path / "p.parquet", draws=DRAWS)
    judged = run_evaluate(tmp_path / "p.parquet", data, members_only=True)
    metrics = json.loads((model / "metrics.json").read_text())
    assert judged.evaluation.n_galaxies == metrics["n_galaxies"]
    assert judged.evaluation.n_votes == metrics["n_votes"]
    assert judged.evaluation.nll_per_vote.value == pytest.approx(metrics["nll_per_vote"]["value"], rel=0.03)
    rmse = judged.evaluation.questions[0].fractions.rmse.value
    assert rmse == pytest.approx(metrics["questions"][0]["fractions"]["rmse"]["value"], rel=1e-3)


def test_csv_says_what_parquet_says(model: Path, tmp_path: Path) -> None:
    """Also for an id that a spreadsheet would run, and votes as CSV without images."""
    ids = ["=1+2", *ids_of(12)[1:]]
    data = write_galaxies(tmp_path / "g.parquet", 12, ids=ids)
    for name in ("p.parquet", "p.csv"):
        run_predict(model, data, tmp_path / name)
    assert (tmp_path / "p.csv").read_text().splitlines()[1].startswith('"\'=1+2"')
    with (tmp_path / "votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["galaxy_id", *TREE.columns])
        writer.writerows([name, *row] for name, row in zip(ids, counts_of(12).tolist(), strict=True))
    found = [run_evaluate(tmp_path / p, v) for p in ("p.parquet", "p.csv") for v in (data, tmp_path / "votes.csv")]
    assert {judged.n_matched for judged in found} == {12}
    assert len({judged.evaluation for judged in found}) == 1


def test_bad_predictions_are_refused_by_name(data: Path, model: Path, tmp_path: Path) -> None:
    """A missing column, another file, a galaxy twice, a mean out of range, nobody in both files."""
    run_predict(model, data, tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    with pytest.raises(BadInput, match="bar_no_mean"):
        run_evaluate(_write(tmp_path, table.drop_columns(["bar_no_mean"])), data)
    with pytest.raises(BadInput, match="bar_precision"):
        run_evaluate(_write(tmp_path, table.drop_columns(["bar_precision"])), data)
    with pytest.raises(BadInput, match="no predictions of a known tree"):
        run_evaluate(data, data)
    with pytest.raises(BadInput, match="'J0000' occurs twice"):
        run_evaluate(_write(tmp_path, table.take([0, 1, 0])), data)
    for ids in (["5.877e+17", "5.877e+17"], [5.877e17, 5.877e17]):
        rounded = table.slice(0, 2).set_column(table.column_names.index("galaxy_id"), "galaxy_id", pa.array(ids))
        with pytest.raises(RoundedId, match="export ids as text"):
            run_evaluate(_write(tmp_path, rounded), data)
    wrong = table.to_pandas()
    wrong.loc[2, "bar_yes_mean"] = 1.5
    wrong.to_parquet(tmp_path / "w.parquet")
    with pytest.raises(BadInput, match="'J0002' has a mean"):
        run_evaluate(tmp_path / "w.parquet", data)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="file: cannot be written"):
        run_evaluate(tmp_path / "p.parquet", data, out=tmp_path / "file")
    with pytest.raises(BadInput, match="no galaxy has both"):
        run_evaluate(_write(tmp_path, table), write_galaxies(tmp_path / "v.parquet", 2, ids=["a", "b"]))


def _write(folder: Path, table) -> Path:
    path = folder / "changed.parquet"
    pq.write_table(table, path)
    return path


def test_what_is_no_model_is_refused(data: Path, tmp_path: Path) -> None:
    """A folder without one, a file that is none, a damaged one."""
    with pytest.raises(NotFound, match="no model here"):
        run_predict(tmp_path, data, tmp_path / "p.parquet")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BadInput, match="not a model"):
        run_predict(tmp_path, data, tmp_path / "p.parquet")


def test_predicting_without_a_place_to_write_is_refused(data: Path, model: Path, tmp_path: Path) -> None:
    """Another format and a missing folder are named before anything is predicted."""
    with pytest.raises(BadInput, match=r"\.parquet or \.csv"):
        run_predict(model, data, tmp_path / "p.xlsx")
    with pytest.raises(BadInput, match="no such folder"):
        run_predict(model, data, tmp_path / "no" / "p.parquet")

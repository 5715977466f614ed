"""The functions of ``import alservice``: what they load, their examples, the same files as the commands, clear errors."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import alservice
from alservice.acquisition.policies import policy_scores
from alservice.app import open_app
from alservice.campaigns import trees
from alservice.cli import app
from alservice.errors import (
    AlserviceError,
    BadConfig,
    BadImage,
    BadInput,
    BadTree,
    BadVotes,
    NotFound,
    NumericalFault,
)
from alservice.offline import frames
from alservice.progress import NoProgress
from alservice.testing import galaxies as synthetic
from alservice.testing import synthetic_galaxies

NAMES = {"train", "predict", "evaluate", "load_tree", "score", "posterior", "open_app"}
TREE = alservice.load_tree("gz2")
TINY = {"px": 32, "steps": 2, "batch": 4, "threads": 1, "device": "cpu", "precision": "float32"}
COMMAND = ("--px", "32", "--steps", "2", "--batch", "4", "--threads", "1", "--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def galaxies() -> pd.DataFrame:
    """A handful of synthetic galaxies with votes."""
    return synthetic_galaxies(24, seed=1)


@pytest.fixture(scope="module")
def model(galaxies: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    """A model trained on a frame."""
    return alservice.train(galaxies, tree="gz2", out=tmp_path_factory.mktemp("frame") / "m", **TINY)


@pytest.fixture(scope="module")
def predictions(model, galaxies: pd.DataFrame) -> pd.DataFrame:
    """Predictions with draws."""
    return alservice.predict(model, galaxies, draws=4, save_draws=True)


def test_importing_loads_nothing_heavy() -> None:
    """Neither torch nor SQL nor pandas come with the import, nor with a tree; both are needed to train."""
    heavy = "[name for name in ('torch', 'sqlalchemy', 'pandas', 'pyarrow', 'matplotlib') if name in sys.modules]"
    code = f"import sys, alservice; dir(alservice); alservice.load_tree('gz2'); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_names_are_there() -> None:
    """`dir` and `__all__` list them, each is documented, and another name is refused as by any module."""
    assert set(alservice.__all__) == NAMES | {"__version__"} <= set(dir(alservice))
    for name in NAMES:
        assert getattr(alservice, name).__doc__
    for name in NAMES - {"open_app"}:
        text = getattr(alservice, name).__doc__
        assert all(section in text for section in ("Parameters\n", "Returns\n", "Raises\n", "Examples\n")), name
    assert alservice.open_app is open_app
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        _ = alservice.fit


@pytest.mark.parametrize(
    "function",
    [
        trees.load_tree,
        frames.train,
        frames.predict,
        frames.evaluate,
        frames.posterior,
        frames.score,
        synthetic.synthetic_galaxies,
    ],
)
def test_examples_run(function, tmp_path: Path) -> None:
    """What the docstrings show is what happens; `folder` is any empty folder."""
    (examples,) = doctest.DocTestFinder(recurse=False).find(function, globs={"folder": tmp_path})
    said: list[str] = []
    assert examples.examples
    assert doctest.DocTestRunner().run(examples, out=said.append).failed == 0, "".join(said)


def test_both_doors_leave_equal_files(galaxies: pd.DataFrame, tmp_path: Path) -> None:
    """A command and the function of its name write the same bytes for one seed, and return the same predictions."""
    data, py, sh = tmp_path / "g.parquet", tmp_path / "py", tmp_path / "sh"
    galaxies.to_parquet(data)
    alservice.train(data, tree="gz2", out=py, seed=3, **TINY)
    _run("train", "--data", data, "--tree", "gz2", "--out", sh, "--seed", "3", *COMMAND)
    names = sorted(path.name for path in py.iterdir())
    assert names == sorted(path.name for path in sh.iterdir())
    assert [n for n in names if (py / n).read_bytes() != (sh / n).read_bytes()] == []

    predicted = {}
    for ending in ("csv", "parquet"):
        predicted[ending] = alservice.predict(py, data, out=tmp_path / f"py.{ending}", draws=3, device="cpu")
        _run(
            "predict",
            "--model",
            sh,
            "--data",
            data,
            "--out",
            tmp_path / f"sh.{ending}",
            "--draws",
            "3",
            "--device",
            "cpu",
        )
        assert (tmp_path / f"py.{ending}").read_bytes() == (tmp_path / f"sh.{ending}").read_bytes()
    pd.testing.assert_frame_equal(predicted["csv"], predicted["parquet"], check_exact=True)
    pd.testing.assert_frame_equal(predicted["csv"], pd.read_csv(tmp_path / "sh.csv"), rtol=1e-6)

    found = alservice.evaluate(predicted["csv"], galaxies, "gz2", seed=5, out=tmp_path / "pe")
    _run("evaluate", "--predictions", tmp_path / "sh.csv", "--votes", data, "--seed", "5", "--out", tmp_path / "se")
    for path in (tmp_path / "se").iterdir():
        assert path.read_bytes() == (tmp_path / "pe" / path.name).read_bytes(), path.name
    assert found.text() in (tmp_path / "se" / "metrics.txt").read_text()


def test_a_frame_is_its_file(model, galaxies: pd.DataFrame, predictions: pd.DataFrame, tmp_path: Path) -> None:
    """Weights and predictions are those of the same rows in a file; an index that has a name is a column."""
    data = tmp_path / "g.parquet"
    galaxies.to_parquet(data)
    other = alservice.train(data, tree=TREE, out=tmp_path / "m", **TINY)
    assert other.card["weights"] == model.card["weights"]
    again = alservice.predict(model, galaxies.set_index("galaxy_id"), draws=4, save_draws=True)
    pd.testing.assert_frame_equal(again, predictions)
    assert alservice.train(galaxies, tree="gz2", out=model.folder, **TINY).was_there


def test_images_may_lie_in_a_folder(model, galaxies: pd.DataFrame, predictions: pd.DataFrame, tmp_path: Path) -> None:
    """Named by a column of paths, or after the galaxies."""
    for name, image in zip(galaxies["galaxy_id"], galaxies["image"], strict=True):
        (tmp_path / f"{name}.jpeg").write_bytes(image)
    ids = galaxies[["galaxy_id"]]
    paths = ids.assign(image_path=ids["galaxy_id"] + ".jpeg")
    for frame, images in ((paths, tmp_path), (ids, tmp_path / "{id}.jpeg")):
        found = alservice.predict(model, frame, images=images, draws=4, save_draws=True)
        pd.testing.assert_frame_equal(found, predictions)


def test_figures_are_tables(predictions: pd.DataFrame, galaxies: pd.DataFrame) -> None:
    """A row per question and one per answer, with the figures of the record; without a partner there is a name."""
    found = alservice.evaluate(predictions.iloc[:20], galaxies.iloc[4:])
    assert (found.n_matched, len(found.without_votes), len(found.without_prediction)) == (16, 4, 4)
    by_question, by_answer = found.to_frame(), found.to_frame("answer")
    assert list(by_question.index) == [question.name for question in TREE.questions]
    assert list(by_answer.index) == list(TREE.columns)
    first = found.evaluation.questions[0]
    row = by_question.loc["smooth-or-featured"]
    assert (row["n_galaxies"], row["n_votes"]) == (16, 16 * 40)
    assert row[["rmse", "rmse_low", "rmse_high"]].to_list() == [first.fractions.rmse.value, *first.fractions.rmse.ends]
    assert row["rmse_low"] <= row["rmse"] <= row["rmse_high"]
    with pytest.raises(BadInput, match="by 'question' or by 'answer'"):
        found.to_frame("galaxy")


def test_scores_are_those_of_the_policy(predictions: pd.DataFrame) -> None:
    """Arrays of concentrations as the loop scores them; fractions as draws that votes follow exactly."""
    draws = np.random.default_rng(0).gamma(2.0, 2.0, size=(4, 6, TREE.n_answers))
    ones = np.array([0.0 if question.superseded else 1.0 for question in TREE.questions])
    known = policy_scores("bald", TREE, draws, votes=10, weights=ones, answer="", target=None)
    scores = alservice.score(TREE, draws, votes=10, galaxy_ids=list("abcd"))
    assert scores.to_list() == known.tolist()
    assert (scores.name, scores.index.name, scores.index.to_list()) == ("bald", "galaxy_id", list("abcd"))
    none = alservice.score("gz2", draws, votes=10, weights={question.name: 0.0 for question in TREE.questions})
    np.testing.assert_allclose(none, 0, atol=1e-12)

    of_table = alservice.score("gz2", predictions, votes=10)
    assert of_table.index.to_list() == predictions["galaxy_id"].to_list()
    fractions = np.stack([np.stack(predictions[f"{name}_draws"]) for name in TREE.columns], axis=-1)
    np.testing.assert_array_equal(alservice.score("gz2", fractions, votes=10), of_table)
    for policy in ("entropy", "epig", "threshold"):
        assert np.isfinite(alservice.score("gz2", predictions, policy=policy, survey=predictions)).all()


def test_a_posterior_is_what_predictions_summarise(model, galaxies: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Its mean is the mean of the file; scores are those of its concentrations, below ln T and not all alike."""
    found = alservice.posterior(model, galaxies, draws=4)
    means = predictions[[f"{name}_mean" for name in TREE.columns]].to_numpy()
    np.testing.assert_allclose(found.probabilities(TREE).mean(axis=1), means, rtol=1e-4)
    scores = alservice.score("gz2", found)
    assert scores.index.to_list() == list(found.galaxy_ids)
    np.testing.assert_array_equal(scores, alservice.score("gz2", found.concentrations))
    assert 0 < scores.min() < scores.max() < np.log(4)
    with pytest.raises(BadInput, match="does not follow tree"):
        alservice.score("gz-rings", found)
    with pytest.raises(BadInput, match="their own galaxy ids"):
        alservice.score("gz2", found, galaxy_ids=found.galaxy_ids)


def test_agreeing_draws_teach_nothing() -> None:
    """Where all networks say the same, votes tell none of them apart; where they differ, they do."""
    same = np.repeat(np.random.default_rng(1).gamma(2.0, size=(1, 1, TREE.n_answers)), 5, axis=1)
    differ = np.random.default_rng(1).gamma(2.0, size=(1, 5, TREE.n_answers))
    scores = alservice.score(TREE, np.concatenate([same, differ]))
    assert scores[0] < 1e-6 < 0.1 < scores[1]


def _changed(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    frame = frame.astype({column: object}) if isinstance(value, str | bytes) else frame.copy()
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda g: g.drop(columns="galaxy_id"), BadInput, "DataFrame: no column of ids: galaxy_id"),
        (lambda g: g.drop(columns="image"), BadInput, "DataFrame: no column of images"),
        (lambda g: g[["galaxy_id", "image"]], BadVotes, "DataFrame: no column of votes"),
        (lambda g: g.iloc[:0], BadInput, "DataFrame: the catalogue is empty"),
        (lambda g: _changed(g, 2, "galaxy_id", g["galaxy_id"][0]), BadInput, "row 3 .*: galaxy_id: .*earlier row"),
        (lambda g: _changed(g, 1, "bar_yes", np.nan), BadVotes, "row 2 .*: bar: some of its answers are NaN"),
        (lambda g: _changed(g, 1, "bar_yes", -1), BadVotes, "row 2 .*: bar: a vote is negative"),
        (lambda g: _changed(g, 5, "image", b"no image"), BadImage, "row 6 .*: image: "),
        (lambda g: pd.concat([g, g["bar_yes"]], axis=1), BadInput, "column 'bar_yes' is given twice"),
        (lambda g: _changed(g, 0, "bar_yes", "many").astype({"bar_no": float}), BadInput, "'bar_yes'"),
        (lambda g: g.to_dict(), BadInput, "must be a DataFrame or the path of a file, not dict"),
        (lambda _: "absent.parquet", BadInput, "absent.parquet: no such file"),
    ],
)
def test_bad_data_is_refused_by_row_and_column(galaxies: pd.DataFrame, tmp_path: Path, change, kind, message) -> None:
    """A typed error says where: the column, or the row by number and id."""
    with pytest.raises(kind, match=message):
        alservice.train(change(galaxies), tree="gz2", out=tmp_path / "m", **TINY)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tree": "gz9"}, BadTree, "unknown tree 'gz9'"),
        ({"steps": 2, "epochs": 1.0}, BadConfig, "steps or epochs, not both"),
        ({"px": 8}, BadConfig, "px must be 16 to 1024, not 8"),
        ({"batch": 1}, BadConfig, "batch must be 2 or more"),
        ({"network": "resnet"}, BadConfig, "no network is called 'resnet'"),
        ({"device": "tpu7"}, BadConfig, "'tpu7' cannot be used"),
        ({"precision": "float8"}, BadConfig, "'float8' is none of"),
        ({"faults": "ignore"}, BadConfig, "faults must be 'raise' or 'skip'"),
    ],
)
def test_bad_options_are_refused_before_a_folder_is_made(galaxies, tmp_path, options, kind, message) -> None:
    """The option and its range are named."""
    with pytest.raises(kind, match=message):
        alservice.train(galaxies, out=tmp_path / "m", **({"tree": "gz2"} | TINY | options))
    assert not (tmp_path / "m").exists()


def test_faults_can_be_skipped(model, galaxies: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Rows that fail are left out and listed; by default the call ends at the first."""
    broken = _changed(galaxies, 5, "image", b"no image")
    with pytest.raises(BadImage, match="row 6"):
        alservice.predict(model, broken, draws=4)
    found = alservice.predict(model, broken, draws=4, save_draws=True, faults="skip")
    pd.testing.assert_frame_equal(found, predictions.drop(index=5).reset_index(drop=True))
    (fault,) = found.attrs["faults"]
    assert (fault["row"], fault["galaxy_id"], fault["field"]) == (6, galaxies["galaxy_id"][5], "image")
    unvoted = galaxies.astype(dict.fromkeys(TREE.columns, float))
    unvoted.loc[3, list(TREE.columns)] = np.nan
    with pytest.raises(BadVotes, match="row 4"):
        alservice.evaluate(predictions, unvoted)
    assert alservice.evaluate(predictions, unvoted, faults="skip").n_matched == 23


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        (("gz9", np.ones((1, 2, 37))), {}, BadTree, "unknown tree"),
        (("gz2", np.ones((1, 2, 36))), {}, BadInput, r"draws must be \(galaxies, draws, 37 answers\)"),
        (("gz2", np.ones((2, 37))), {}, BadInput, "draws must be"),
        (("gz2", "a"), {}, BadInput, "a catalogue ends in"),
        (("gz2", [[["x"]]]), {}, BadInput, "must be numbers"),
        (("gz2", np.full((1, 2, 37), np.nan)), {}, NumericalFault, "row 0"),
        (("gz2", np.ones((1, 2, 37))), {"policy": "best"}, BadInput, "policy 'best' is none of "),
        (("gz2", np.ones((1, 2, 37))), {"policy": "epig"}, BadInput, "without a target"),
        (("gz2", np.ones((1, 2, 37))), {"policy": "random"}, BadInput, "has no scores"),
        (("gz2", np.ones((1, 2, 37))), {"votes": -1}, BadVotes, "votes"),
        (("gz2", np.ones((1, 2, 37))), {"weights": {"ring": 1.0}}, NotFound, "no question 'ring'"),
        (("gz2", np.ones((1, 2, 37))), {"galaxy_ids": ["a", "b"]}, BadInput, "2 galaxy ids do not fit 1 rows"),
        (("gz2", np.ones((2, 2, 37))), {"galaxy_ids": ["a", "a"]}, BadInput, "'a' occurs twice"),
    ],
)
def test_bad_draws_are_refused(arguments, options, kind, message) -> None:
    """Shapes, numbers, names."""
    with pytest.raises(kind, match=message):
        alservice.score(*arguments, **options)


def test_predictions_without_draws_have_no_score(predictions: pd.DataFrame) -> None:
    """The message says how to get them."""
    with pytest.raises(BadInput, match="predict with save_draws=True"):
        alservice.score("gz2", predictions.drop(columns="bar_yes_draws"))


def test_a_model_that_is_none_is_refused(galaxies: pd.DataFrame, tmp_path: Path) -> None:
    """A folder without one, no model at all, draws out of range."""
    with pytest.raises(NotFound, match="no model here"):
        alservice.predict(tmp_path, galaxies)
    with pytest.raises(BadInput, match="no model to predict with"):
        alservice.predict([], galaxies)
    with pytest.raises(BadConfig, match="draws must be 1 to 1000"):
        alservice.predict(tmp_path, galaxies, draws=0)


def test_a_tree_may_be_a_file(galaxies: pd.DataFrame, tmp_path: Path) -> None:
    """Its own questions can be trained on, predicted with the file, and evaluated; a file that is none is refused."""
    answers = [{"name": name, "label": name.title()} for name in ("no", "yes")]
    question = {"name": "ring", "text": "Is there a ring?", "task": "T0", "parents": [], "answers": answers}
    document = {
        "name": "rings",
        "source": "test",
        "notes": [],
        "questions": [question | {"task_answers": ["yes", "no"]}],
    }
    path = tmp_path / "rings.json"
    path.write_text(json.dumps(document))
    own = galaxies[["galaxy_id", "image"]].assign(ring_no=range(24), ring_yes=5)
    model = alservice.train(own, tree=path, out=tmp_path / "m", progress=NoProgress(), **TINY)
    path.rename(tmp_path / "kept.json")  # the model carries its tree
    assert list(alservice.predict(model, own, draws=2).columns)[1] == "ring_no_mean"
    (tmp_path / "kept.json").rename(path)
    predictions = alservice.predict(model, own, tree=path, draws=2)
    assert list(predictions.columns)[:2] == ["galaxy_id", "ring_no_mean"]
    assert alservice.evaluate(predictions, own, path).n_matched == 24
    path.write_text("[")
    with pytest.raises(BadTree, match=r"rings\.json: is not JSON"):
        alservice.load_tree(path)
    with pytest.raises(AlserviceError, match=r"absent\.json"):
        alservice.load_tree(tmp_path / "absent.json")


def _run(*arguments: object) -> None:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output

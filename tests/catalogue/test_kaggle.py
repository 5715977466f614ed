"""The Kaggle file's cumulative fractions and the shares among those asked."""

import json
import re

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.catalogue.vote_columns import (
    ALWAYS_RECORDED,
    KAGGLE_COLUMNS,
    conditional_from_cumulative,
    cumulative_from_conditional,
)
from alservice.errors import BadTree, BadVotes
from alservice.science.tree import load_tree
from alservice.science.votes import totals
from tests.support.shared import shared_data

TREE = load_tree("gz2")
OPTIONAL = np.array([q.name not in ALWAYS_RECORDED for q in TREE.questions])[TREE.question_of_answer]


def random_shares(seed: int, n: int) -> npt.NDArray[np.float64]:
    """Return shares (n, A) that sum to 1 per question, some of them zero."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(0.5, size=(n, TREE.n_answers)) * (rng.random((n, TREE.n_answers)) < 0.7)
    weights[:, [part.stop - 1 for part in TREE.slices]] += 0.01
    return weights / totals(TREE, weights)[:, TREE.question_of_answer]


def kaggle_row(**fractions: float) -> npt.NDArray[np.float64]:
    """Return a valid row (1, A): everything smooth, round and not odd, then changed as told."""
    row = dict.fromkeys(KAGGLE_COLUMNS, 0.0) | {"Class1.1": 1.0, "Class6.2": 1.0, "Class7.1": 1.0}
    row |= {name.replace("_", "."): value for name, value in fractions.items()}
    return np.array([list(row.values())])


def test_columns_are_the_tree_in_its_own_order():
    """The 37 Class columns map one to one onto the tree, and a question number onto one question."""
    assert tuple(KAGGLE_COLUMNS.values()) == TREE.columns
    numbers = [int(re.fullmatch(r"Class(\d+)\.\d+", column)[1]) for column in KAGGLE_COLUMNS]
    assert numbers == (TREE.question_of_answer + 1).tolist()


def test_tree_agrees_with_the_description_of_the_file():
    """Answers and parents are those recorded beside the file, but for Class6, which it normalises to everyone."""
    described = json.loads((shared_data() / "kaggle_gz2_tree.json").read_text())["questions"]
    for question, item in zip(TREE.questions, described, strict=True):
        assert len(question.answers) == len(item["answers"])
        if item["id"] == "Class6":
            assert item["parent"] is None
        else:
            assert list(question.parents) == [KAGGLE_COLUMNS[p] for p in [item["parent"]] if p]


@given(seed=st.integers(0, 2**32), n=st.integers(0, 4), short=st.booleans())
def test_round_trip(seed: int, n: int, short: bool):
    """Shares become cumulative fractions and come back wherever somebody was asked, in rows of 37 and of 17."""
    shares = random_shares(seed, n)
    cumulative = cumulative_from_conditional(TREE, shares)
    expected = np.where(cumulative_parent(cumulative) > 0, shares, np.nan)
    if short:
        cumulative[:, OPTIONAL] = expected[:, OPTIONAL] = np.nan
    np.testing.assert_allclose(conditional_from_cumulative(TREE, cumulative, range(n)), expected, atol=1e-12)


def cumulative_parent(cumulative: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the fraction that each answer's siblings sum to, by the description of the file."""
    parents = dict.fromkeys(["2"], "1.2") | dict.fromkeys(["3", "4", "5"], "2.2") | dict.fromkeys(["10", "11"], "4.1")
    parents |= {"7": "1.1", "8": "6.1", "9": "2.1"}
    names = list(KAGGLE_COLUMNS)
    parent = np.ones_like(cumulative)
    for column, name in enumerate(names):
        number = name.removeprefix("Class").split(".")[0]
        if number in parents:
            parent[:, column] = cumulative[:, names.index(f"Class{parents[number]}")]
    return parent


@given(seed=st.integers(0, 2**32))
def test_cumulative_fractions_are_in_the_convention_of_the_file(seed: int):
    """Children sum to their parent; Class1 and Class6 sum to 1 whatever the share of artifacts."""
    cumulative = cumulative_from_conditional(TREE, random_shares(seed, 3))
    sums = totals(TREE, cumulative)[:, TREE.question_of_answer]
    np.testing.assert_allclose(sums, cumulative_parent(cumulative), atol=1e-12)


def test_odd_is_a_share_of_those_asked_though_stored_for_everyone():
    """With 40 % artifacts, Class6 stays as it is, Class8 is divided by Class6.1, and P(asked) is 60 %."""
    row = kaggle_row(Class1_1=0.6, Class1_3=0.4, Class7_1=0.6, Class6_1=0.5, Class6_2=0.5, Class8_1=0.2, Class8_6=0.3)
    shares = conditional_from_cumulative(TREE, row, ["g"])[0]
    assert shares[TREE.slices[TREE.index("something-odd")]].tolist() == [0.5, 0.5]
    assert shares[TREE.slices[TREE.index("odd-feature")]].tolist() == [0.4, 0, 0, 0, 0, 0.6, 0]
    asked = TREE.asked_probability(shares)
    assert asked[TREE.index("something-odd")] == pytest.approx(0.6)
    assert asked[TREE.index("odd-feature")] == pytest.approx(0.3)


def test_where_nobody_was_asked_there_is_no_share():
    """Questions below a fraction of zero have NaN shares, not zeros."""
    shares = conditional_from_cumulative(TREE, kaggle_row(), ["g"])[0]
    recorded = {TREE.questions[q].name for q in TREE.question_of_answer[~np.isnan(shares)]}
    assert recorded == {"smooth-or-featured", "something-odd", "how-rounded"}
    rounded_up = conditional_from_cumulative(TREE, kaggle_row(Class8_1=1e-6), ["g"])[0]
    np.testing.assert_array_equal(rounded_up, shares)


def test_a_small_parent_still_gives_a_distribution():
    """Shares sum to 1 although a tiny parent is rounded to six decimals."""
    row = kaggle_row(Class6_1=1e-5, Class6_2=1 - 1e-5, Class8_1=4e-6, Class8_2=5e-6)
    shares = conditional_from_cumulative(TREE, row, ["g"])[0]
    assert shares[TREE.slices[TREE.index("odd-feature")]].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Class7_1": np.nan}, "question 'how-rounded' has a NaN where its row should have a fraction"),
        ({"Class3_1": np.nan}, "question 'bar' has a NaN where its row should have a fraction"),
        ({"Class3_1": np.nan, "Class3_2": np.nan}, "question 'bar' has a NaN where"),
        (
            {"Class1_1": 1.2},
            r"question 'smooth-or-featured' has a fraction outside \[0, 1\]: {'Class1.1': 1.2",
        ),
        ({"Class8_1": -0.1, "Class8_2": 0.1}, r"question 'odd-feature' has a fraction outside \[0, 1\]"),
        (
            {"Class8_1": np.inf, "Class8_2": -np.inf},
            r"question 'odd-feature' has a fraction outside \[0, 1\]",
        ),
        ({"Class1_1": 0.9}, "question 'smooth-or-featured' has answers that do not sum to their parent"),
        ({"Class6_2": 0.6}, "question 'something-odd' has answers that do not sum to their parent"),
        ({"Class7_2": 2e-4}, "question 'how-rounded' has answers that do not sum to their parent"),
        ({"Class2_1": 0.5}, "question 'disk-edge-on' has answers that do not sum to their parent"),
    ],
)
def test_a_bad_row_is_refused_by_name(change: dict[str, float], message: str):
    """A misplaced NaN, a fraction outside [0, 1] and siblings that do not sum name the galaxy and the question."""
    rows = np.concatenate([kaggle_row(), kaggle_row(**change), kaggle_row(**change)])
    with pytest.raises(BadVotes, match="galaxy 100023: " + message) as caught:
        conditional_from_cumulative(TREE, rows, [100008, 100023, 100053])
    assert caught.value.evidence["galaxies_at_fault"] == 2


def test_a_short_row_holds_all_of_its_17_fractions():
    """A row without bar, spiral, bulge and the rest must still have every fraction of questions 1, 2, 6, 7 and 8."""
    row = kaggle_row()
    row[0, OPTIONAL] = np.nan
    assert np.isnan(conditional_from_cumulative(TREE, row, ["g"])[0, OPTIONAL]).all()
    row[0, TREE.column("odd-feature_other")] = np.nan
    with pytest.raises(BadVotes, match="galaxy g: question 'odd-feature' has a NaN"):
        conditional_from_cumulative(TREE, row, ["g"])


@pytest.mark.parametrize("function", [cumulative_from_conditional, lambda t, a: conditional_from_cumulative(t, a, "g")])
def test_only_gz2_has_kaggle_fractions(function):
    """Another tree is refused, and so is an array that is not the tree's."""
    decals = load_tree("gz-decals-dr5")
    with pytest.raises(BadTree, match="answers of the tree 'gz2', not of 'gz-decals-dr5'"):
        function(decals, np.ones((1, decals.n_answers)))
    with pytest.raises(BadVotes, match="has 37 answer columns"):
        function(TREE, np.ones((1, 17)))


def test_the_real_file():
    """All 23,098 real rows convert, sum to 1 where asked, and come back within the file's rounding."""
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["galaxy_id", "n_answers", *KAGGLE_COLUMNS])
    cumulative = np.stack([table[column].to_numpy() for column in KAGGLE_COLUMNS], axis=1)
    shares = conditional_from_cumulative(TREE, cumulative, table["galaxy_id"].to_pylist())
    sums = totals(TREE, shares)
    np.testing.assert_allclose(sums[~np.isnan(sums)], 1, atol=1e-12)
    known = ~np.isnan(cumulative)
    short = table["n_answers"].to_numpy() == 17
    assert (known.sum(axis=1) == np.where(short, 17, 37)).all()
    back = cumulative_from_conditional(TREE, shares)
    assert np.abs(back - cumulative)[known].max() < 2e-6
    odd, artifact = TREE.index("something-odd"), cumulative[:, TREE.column("smooth-or-featured_artifact")]
    np.testing.assert_allclose(TREE.asked_probability(shares)[:, odd], 1 - artifact, atol=2e-6)


def test_a_galaxy_computed_by_hand():
    """Three in five say featured, half of them see a face-on disk, and so on down the tree, digit by digit."""
    shares = np.full(TREE.n_answers, np.nan)
    for question, values in {
        "smooth-or-featured": (0.3, 0.6, 0.1),
        "disk-edge-on": (0.5, 0.5),
        "bar": (0.2, 0.8),
        "has-spiral-arms": (0.9, 0.1),
        "bulge-size": (0.1, 0.2, 0.3, 0.4),
        "something-odd": (0.25, 0.75),
        "how-rounded": (0.5, 0.3, 0.2),
        "odd-feature": (0.4, 0.0, 0.0, 0.0, 0.1, 0.5, 0.0),
        "edge-on-bulge": (0.6, 0.1, 0.3),
        "spiral-winding": (0.7, 0.2, 0.1),
        "spiral-arm-count": (0.0, 0.8, 0.0, 0.0, 0.0, 0.2),
    }.items():
        shares[TREE.slices[TREE.index(question)]] = values
    expected = dict.fromkeys(KAGGLE_COLUMNS, 0.0) | {
        "Class1.1": 0.3,
        "Class1.2": 0.6,
        "Class1.3": 0.1,
        "Class2.1": 0.3,
        "Class2.2": 0.3,  # of 0.6 featured
        "Class3.1": 0.06,
        "Class3.2": 0.24,
        "Class4.1": 0.27,
        "Class4.2": 0.03,  # of 0.3 face-on
        "Class5.1": 0.03,
        "Class5.2": 0.06,
        "Class5.3": 0.09,
        "Class5.4": 0.12,
        "Class6.1": 0.25,
        "Class6.2": 0.75,  # of everyone, although artifacts are not asked
        "Class7.1": 0.15,
        "Class7.2": 0.09,
        "Class7.3": 0.06,  # of 0.3 smooth
        "Class8.1": 0.1,
        "Class8.5": 0.025,
        "Class8.6": 0.125,  # of 0.25 odd
        "Class9.1": 0.18,
        "Class9.2": 0.03,
        "Class9.3": 0.09,  # of 0.3 edge-on
        "Class10.1": 0.189,
        "Class10.2": 0.054,
        "Class10.3": 0.027,  # of 0.27 spiral
        "Class11.2": 0.216,
        "Class11.6": 0.054,
    }
    np.testing.assert_allclose(cumulative_from_conditional(TREE, shares), list(expected.values()), atol=1e-12)

"""Vote arithmetic: totals, fractions, walks and impossible counts."""

import re

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadVotes
from alservice.science.tree import Tree, load_tree, tree_names
from alservice.science.votes import (
    NOT_ASKED,
    TallySet,
    any_answer,
    check_counts,
    conditional_fractions,
    count_walks,
    inconsistent,
    tally_set,
    totals,
    walk,
    walked_counts,
)
from tests.support.shared import shared_data

trees = st.sampled_from(tree_names()).map(load_tree)
seeds = st.integers(0, 2**32)


def random_probabilities(tree: Tree, seed: int) -> npt.NDArray[np.float64]:
    """Return answer probabilities (A,), some of them zero."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(0.5, size=tree.n_answers) * (rng.random(tree.n_answers) < 0.8)
    weights[[part.start for part in tree.slices]] += 0.01
    return weights / totals(tree, weights)[tree.question_of_answer]


def counts_of(tree: Tree, votes: dict[str, int]) -> npt.NDArray[np.int64]:
    """Return counts (1, A) with the given columns filled."""
    counts = np.zeros((1, tree.n_answers), dtype=np.int64)
    for column, n in votes.items():
        counts[0, tree.column(column)] = n
    return counts


def test_totals_and_fractions_of_one_galaxy():
    """Votes add up per question; an answer's fraction is its share; a question without votes has none."""
    tree = load_tree("gz2")
    counts = counts_of(tree, {"smooth-or-featured_smooth": 3, "smooth-or-featured_artifact": 1, "how-rounded_round": 3})
    votes = dict(zip([q.name for q in tree.questions], totals(tree, counts)[0].tolist(), strict=True))
    assert {name: n for name, n in votes.items() if n} == {"smooth-or-featured": 4, "how-rounded": 3}
    fractions = conditional_fractions(tree, counts)[0]
    assert fractions[tree.slices[tree.index("smooth-or-featured")]].tolist() == [0.75, 0, 0.25]
    assert fractions[tree.slices[tree.index("how-rounded")]].tolist() == [1, 0, 0]
    recorded = [tree.index("smooth-or-featured"), tree.index("how-rounded")]
    assert np.isnan(fractions[~np.isin(tree.question_of_answer, recorded)]).all()


@given(tree=trees, seed=seeds, n=st.integers(0, 5))
def test_fractions_sum_to_one_where_asked(tree: Tree, seed: int, n: int):
    """Fractions sum to 1 for questions with votes and are NaN, never zero, for the others."""
    counts = np.random.default_rng(seed).poisson(0.7, size=(n, tree.n_answers))
    fractions = conditional_fractions(tree, counts)
    asked = totals(tree, counts) > 0
    np.testing.assert_allclose(totals(tree, fractions)[asked], 1)
    np.testing.assert_array_equal(np.isnan(fractions), ~asked[:, tree.question_of_answer])


@given(tree=trees, seed=seeds)
def test_any_answer_looks_at_each_question_apart(tree: Tree, seed: int):
    """A question is marked iff one of its own answers is."""
    mask = np.random.default_rng(seed).random((3, tree.n_answers)) < 0.3
    expected = np.stack([mask[:, part].any(axis=1) for part in tree.slices], axis=1)
    np.testing.assert_array_equal(any_answer(tree, mask), expected)


@pytest.mark.parametrize("function", [totals, conditional_fractions, inconsistent])
def test_counts_of_another_tree_are_refused(function):
    """Counts whose last axis is not the tree's answers are refused with their shape."""
    with pytest.raises(BadVotes, match=re.escape("'gz2' has 37 answer columns; an array (2, 34) does not")):
        function(load_tree("gz2"), np.zeros((2, 34)))


@given(tree=trees, seed=seeds, n_votes=st.integers(0, 30))
def test_a_volunteer_answers_exactly_what_they_are_asked(tree: Tree, seed: int, n_votes: int):
    """In every walk a question is answered iff it has no parents or one of its parent answers was chosen."""
    walks = walk(tree, random_probabilities(tree, seed), n_votes, np.random.default_rng(seed))
    assert walks.shape == (n_votes, tree.n_questions)
    assert walks.dtype == np.int8
    for choices in walks.tolist():
        chosen = {q.columns[c] for q, c in zip(tree.questions, choices, strict=True) if c != NOT_ASKED}
        for question, choice in zip(tree.questions, choices, strict=True):
            asked = not question.parents or not chosen.isdisjoint(question.parents)
            assert (choice != NOT_ASKED) == asked
            assert NOT_ASKED <= choice < len(question.answers)


@given(tree=trees, seed=seeds, few=st.integers(0, 20), more=st.integers(0, 20))
def test_asking_for_more_votes_keeps_the_earlier_ones(tree: Tree, seed: int, few: int, more: int):
    """The first k volunteers do not depend on how many follow."""
    probabilities = random_probabilities(tree, seed)
    first = walk(tree, probabilities, few, np.random.default_rng(seed))
    all_of_them = walk(tree, probabilities, few + more, np.random.default_rng(seed))
    np.testing.assert_array_equal(all_of_them[:few], first)


@pytest.mark.parametrize("name", tree_names())
def test_walks_follow_the_probabilities(name: str):
    """Over 20,000 volunteers each answer is chosen as often as P(asked) x P(answer) says, within 5 sigma."""
    tree, n_votes = load_tree(name), 20_000
    probabilities = random_probabilities(tree, 7)
    expected = tree.asked_probability(probabilities)[tree.question_of_answer] * probabilities
    counts = count_walks(tree, walk(tree, probabilities, n_votes, np.random.default_rng(1)))
    sigma = np.sqrt(n_votes * expected * (1 - expected))
    assert (np.abs(counts - n_votes * expected) <= 5 * sigma + 1e-6).all()
    assert (counts[probabilities == 0] == 0).all()


def test_a_question_not_recorded_is_asked_of_nobody():
    """A question of NaN probabilities gets no answers, nor do the questions below it; the others do."""
    tree = load_tree("gz2")
    probabilities = random_probabilities(tree, 3)
    probabilities[tree.slices[0]] = [0, 1, 0]
    probabilities[tree.slices[tree.index("disk-edge-on")]] = np.nan
    walks = walk(tree, probabilities, 50, np.random.default_rng(0))
    answered = {q.name for q, choices in zip(tree.questions, walks.T, strict=True) if (choices != NOT_ASKED).any()}
    assert answered == {"smooth-or-featured", "something-odd", "odd-feature"}


@pytest.mark.parametrize(
    ("probabilities", "number", "answer"), [([1 - 1e-6, 0], np.nextafter(1, 0), 0), ([0, 1 - 1e-6], 0, 1)]
)
def test_an_impossible_answer_is_never_chosen(probabilities: list[float], number: float, answer: int):
    """The extreme random numbers fall on possible answers, though probabilities sum to a little less than 1."""

    class Fixed(np.random.Generator):
        def random(self, size):
            return np.full(size, number)

    walks = walk(load_tree("gz-rings"), np.array(probabilities), 1, Fixed(np.random.PCG64(0)))
    assert walks.tolist() == [[answer]]


@pytest.mark.parametrize("probabilities", [[0.5, 0.4], [0.6, 0.6], [-0.5, 1.5], [np.nan, 1], [0, 0], [np.inf, 0]])
def test_what_is_no_distribution_is_refused(probabilities: list[float]):
    """Probabilities that are negative, not finite, NaN in part or do not sum to 1 are refused by question."""
    with pytest.raises(BadVotes, match=r"question 'ring': answer probabilities .* are not a distribution"):
        walk(load_tree("gz-rings"), np.array(probabilities), 1, np.random.default_rng(0))


@given(tree=trees, seed=seeds, n_votes=st.integers(0, 20))
def test_counted_walks_are_possible_counts(tree: Tree, seed: int, n_votes: int):
    """Votes of any walks are consistent, and each volunteer adds one vote per question they were asked."""
    walks = walk(tree, random_probabilities(tree, seed), n_votes, np.random.default_rng(seed))
    counts = count_walks(tree, walks)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(totals(tree, counts), (walks != NOT_ASKED).sum(axis=0))
    for question, choices in zip(tree.questions, walks.T, strict=True):
        votes = [np.count_nonzero(choices == answer) for answer in range(len(question.answers))]
        assert [int(counts[tree.column(column)]) for column in question.columns] == votes
    check_counts(tree, counts[np.newaxis], ["galaxy"])


@pytest.mark.parametrize(
    ("votes", "question"),
    [
        ({"smooth-or-featured_smooth": -1}, "smooth-or-featured"),
        ({"how-rounded_round": 1}, "how-rounded"),
        (
            {"smooth-or-featured_smooth": 1, "how-rounded_round": 1, "how-rounded_in-between": 1},
            "how-rounded",
        ),
        (
            {"smooth-or-featured_smooth": 1, "smooth-or-featured_artifact": 1, "something-odd_no": 2},
            "something-odd",
        ),
    ],
)
def test_impossible_counts_are_refused_by_galaxy_and_question(votes: dict[str, int], question: str):
    """Negative counts, and more answers than the parents had votes, name the first galaxy and question at fault."""
    tree = load_tree("gz2")
    counts = np.concatenate([counts_of(tree, {}), counts_of(tree, votes), counts_of(tree, votes)])
    faults = inconsistent(tree, counts)
    assert faults.tolist() == [[False] * 11, *[[q.name == question for q in tree.questions]] * 2]
    with pytest.raises(BadVotes, match=f"galaxy g1: question '{question}' has counts") as caught:
        check_counts(tree, counts, ["g0", "g1", "g2"])
    assert caught.value.evidence == {"galaxy": "g1", "question": question, "galaxies_at_fault": 2}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_counts_that_are_not_finite_are_refused(value: float):
    """NaN and infinite counts are faults of their own question, quietly."""
    tree = load_tree("gz2")
    counts = np.zeros((1, tree.n_answers))
    counts[0, :2] = value, np.inf
    assert inconsistent(tree, counts).tolist() == [[True, *[False] * 10]]


def test_both_parents_of_a_question_give_their_votes():
    """Something odd may have as many votes as smooth and featured together."""
    tree = load_tree("gz2")
    votes = {"smooth-or-featured_smooth": 2, "smooth-or-featured_featured-or-disk": 3, "something-odd_no": 5}
    assert not inconsistent(tree, counts_of(tree, votes)).any()


def test_real_decals_counts_are_possible():
    """Recorded counts of 1,618 GZ DECaLS DR5 galaxies are such as walks through the tree give."""
    tree = load_tree("gz-decals-dr5")
    table = pq.read_table(shared_data() / "gz_decals_dr5_tree_counts.parquet", columns=["subject_id", *tree.columns])
    counts = np.stack([table[column].to_numpy() for column in tree.columns], axis=1)
    assert counts.shape == (1618, 34)
    check_counts(tree, counts, table["subject_id"].to_pylist())


def test_real_gz2_counts_have_known_faults():
    """One Stripe 82 galaxy in 24 has more votes for a question than for its parents: quarantine, not silence."""
    tree = load_tree("gz2")
    table = pq.read_table(shared_data() / "gz2_stripe82_coadd_votes.parquet")
    columns = [column for column in table.column_names if column.endswith("_count")]
    counts = np.stack([table[column].to_numpy() for column in columns], axis=1)
    assert inconsistent(tree, counts).any(axis=1).sum() == 828
    with pytest.raises(BadVotes, match="galaxy 8647474690312307154: question 'something-odd' has counts"):
        check_counts(tree, counts, table["objid"].to_pylist())


def test_walked_counts_belong_to_the_galaxy():
    """A galaxy's votes do not depend on its neighbours; every volunteer answers the first question; nobody, nothing."""
    tree = load_tree("gz2")
    shares = np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in tree.questions])
    both = walked_counts(tree, np.stack([shares, shares]), ("a", "b"), volunteers=44, seed=0)
    alone = walked_counts(tree, shares[None], ("b",), volunteers=np.array([44]), seed=0)
    np.testing.assert_array_equal(both[1], alone[0])
    assert (both[:, :3].sum(axis=1) == 44).all()
    assert (both[0] != both[1]).any()
    assert not walked_counts(tree, shares[None], ("b",), volunteers=0, seed=0).any()
    assert (walked_counts(tree, shares[None], ("b",), volunteers=44, seed=1) != alone).any()


@pytest.mark.parametrize("ids", [("a", "a"), ("b", "a"), ("a",)])
def test_a_set_of_tallies_names_each_galaxy_once_and_in_order(ids: tuple[str, ...]):
    """Repeats, another order and other numbers of rows are refused."""
    with pytest.raises(BadVotes):
        TallySet(galaxy_ids=ids, counts=np.zeros((2, 3), dtype=np.int64))


def test_galaxies_without_votes_are_in_no_set_of_tallies():
    """The rest is in order of id; nobody at all is a set of none."""
    found = tally_set({"b": np.array([1, 0]), "c": np.array([0, 0]), "a": np.array([0, 2])}, 2)
    assert (found.galaxy_ids, found.counts.tolist(), found.n_votes) == (("a", "b"), [[0, 2], [1, 0]], 3)
    assert tally_set({}, 2).counts.shape == (0, 2)

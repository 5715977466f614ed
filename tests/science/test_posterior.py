"""The posterior record, its probabilities and its intervals."""

import numpy as np
import pytest
from scipy import stats

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.posterior import (
    MOST_VOTES,
    Posterior,
    answer_and_rest,
    concat,
    question_totals,
    summaries,
    take,
    votes_per_galaxy,
)
from alservice.science.tree import load_tree

TREE = load_tree("gz2")


def make(n=5, *, draws=4, seed=0, prefix="g", **changes):
    """Return a valid posterior, or one with fields changed."""
    rng = np.random.default_rng(seed)
    fields = {
        "galaxy_ids": tuple(f"{prefix}{i}" for i in range(n)),
        "concentrations": rng.gamma(2, 3, (n, draws, TREE.n_answers)).astype(np.float32) + np.float32(0.01),
        "embeddings": rng.normal(size=(n, 6)).astype(np.float16),
        "tree_hash": TREE.hash,
        "model": "m1",
    }
    return Posterior(**{**fields, **changes})


def test_probabilities_are_concentrations_over_their_questions_sum():
    """Within every question of every draw the answers' probabilities sum to 1 and keep their ratios."""
    posterior = make()
    probabilities = posterior.probabilities(TREE)
    assert probabilities.dtype == np.float32
    for answers in TREE.slices:
        part = posterior.concentrations[..., answers]
        np.testing.assert_allclose(probabilities[..., answers], part / part.sum(-1, keepdims=True), rtol=1e-6)


def test_answer_and_rest_do_not_cancel():
    """The rest of a dominant answer is the sum of the others, to their own precision."""
    concentrations = np.full((1, TREE.n_answers), 1e-6, dtype=np.float32)
    concentrations[0, 0] = 1e8
    own, rest = answer_and_rest(TREE, concentrations, 0)
    assert own[0] == np.float32(1e8)
    assert rest[0] == pytest.approx(2e-6, rel=1e-6)


def test_question_totals_keep_the_dtype_of_votes():
    """Votes stay integers."""
    totals = question_totals(TREE, np.ones((2, TREE.n_answers), dtype=np.int64))
    assert totals.dtype == np.int64
    assert totals[0].tolist() == [part.stop - part.start for part in TREE.slices]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_impossible_concentrations_name_the_galaxy(value):
    """A concentration that is not finite and positive raises with the galaxy's id."""
    concentrations = make().concentrations.copy()
    concentrations[3, 1, 2] = value
    with pytest.raises(NumericalFault, match="'g3'") as caught:
        make(concentrations=concentrations)
    assert caught.value.evidence["galaxies"] == ["g3"]


def test_impossible_embeddings_name_the_galaxy():
    """An embedding that overflowed float16 raises with the galaxy's id."""
    embeddings = make().embeddings.copy()
    embeddings[2, 0] = np.inf
    with pytest.raises(NumericalFault, match="'g2'"):
        make(embeddings=embeddings)


@pytest.mark.parametrize(
    "changes",
    [
        {"galaxy_ids": ("a", "b", "a", "c", "d")},
        {"galaxy_ids": ("a", "b")},
        {"concentrations": np.ones((5, 4, TREE.n_answers))},
        {"concentrations": np.ones((5, 0, TREE.n_answers), dtype=np.float32)},
        {"concentrations": np.ones((5, TREE.n_answers), dtype=np.float32)},
        {"embeddings": np.ones((5, 6), dtype=np.float32)},
        {"embeddings": np.ones((4, 6), dtype=np.float16)},
    ],
)
def test_wrong_ids_shapes_and_dtypes_are_refused(changes):
    """Repeated ids, other lengths and other dtypes raise `BadInput`."""
    with pytest.raises(BadInput):
        make(**changes)


def test_a_posterior_of_another_tree_is_refused():
    """Probabilities and summaries need the tree the columns follow."""
    other = make(tree_hash="0" * 64)
    with pytest.raises(BadInput, match="does not follow tree 'gz2'"):
        other.probabilities(TREE)
    with pytest.raises(BadInput, match="does not follow"):
        summaries(TREE, other)


def test_summaries_are_mean_and_quantiles_of_the_mixture():
    """Means are exact; 5 and 95 % of the mixture of Betas lie below the ends."""
    posterior = make(3, draws=6)
    result = summaries(TREE, posterior)
    np.testing.assert_allclose(result.mean, posterior.probabilities(TREE).mean(axis=1), rtol=1e-5)
    for answer in range(TREE.n_answers):
        a, b = answer_and_rest(TREE, posterior.concentrations, answer)
        for bound, level in ((result.low, 0.05), (result.high, 0.95)):
            below = stats.beta.cdf(bound[:, answer, None], a, b).mean(axis=1)
            np.testing.assert_allclose(below, level, atol=1e-3)


def test_summaries_do_not_depend_on_the_order_of_draws_or_galaxies():
    """Draws are exchangeable, and galaxies do not see each other."""
    posterior = make(7, draws=5)
    result = summaries(TREE, posterior)
    shuffled = make(7, draws=5, concentrations=posterior.concentrations[:, [3, 0, 4, 1, 2]])
    np.testing.assert_allclose(summaries(TREE, shuffled).high, result.high, atol=1e-5)
    order = np.array([6, 2, 0])
    np.testing.assert_allclose(summaries(TREE, take(posterior, order)).low, result.low[order], atol=1e-5)


def test_take_and_concat_undo_each_other():
    """Galaxies taken apart and joined again are the same posterior."""
    posterior = make(6)
    joined = concat([take(posterior, np.array([0, 1])), take(posterior, np.array([2, 3, 4, 5]))])
    assert joined.galaxy_ids == posterior.galaxy_ids
    np.testing.assert_array_equal(joined.concentrations, posterior.concentrations)
    np.testing.assert_array_equal(joined.embeddings, posterior.embeddings)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [make(), make(prefix="h", model="m2")],
        [make(), make(prefix="h", tree_hash="0" * 64)],
        [make(), make(prefix="h", draws=5)],
        [make(), make()],
    ],
)
def test_only_shards_of_one_posterior_can_be_joined(others):
    """No shards, other models, trees or draws, and repeated galaxies raise."""
    with pytest.raises(BadInput):
        concat(others)


def test_a_million_votes_are_the_most():
    """One more is refused, that many are not."""
    assert votes_per_galaxy(MOST_VOTES, 2).tolist() == [MOST_VOTES, MOST_VOTES]
    with pytest.raises(BadVotes):
        votes_per_galaxy(MOST_VOTES + 1, 2)

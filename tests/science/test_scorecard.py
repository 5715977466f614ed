"""An evaluation against its definitions, and under votes that follow the model."""

import json

import numpy as np
import pytest

from alservice.errors import BadVotes
from alservice.science.evaluation import assess, evaluate
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.scorecard import TextTable, evaluation_tables
from alservice.science.tree import load_tree
from alservice.science.votes import walked_counts

TREE = load_tree("gz2")


def make(n=300, seed=0, sharper=1.0):
    """Return a posterior, and the votes of 44 volunteers per galaxy, of one draw each, sharper or not than it says."""
    rng = np.random.default_rng(seed)
    logit = 1.5 * rng.normal(size=(n, 1, TREE.n_answers)) + 0.3 * rng.normal(size=(n, 5, TREE.n_answers))
    alpha = (20 * answer_probabilities(TREE, np.exp(logit))).astype(np.float32)
    truth = np.stack([rng.gamma(a) + 1e-12 for a in alpha[:, 0].astype(float)])
    truth /= np.add.reduceat(truth, [s.start for s in TREE.slices], axis=1)[:, TREE.question_of_answer]
    ids = tuple(f"g{i}" for i in range(n))
    counts = walked_counts(TREE, truth, ids, volunteers=44, seed=seed)
    posterior = Posterior(
        galaxy_ids=ids,
        concentrations=(alpha * sharper).astype(np.float32),
        embeddings=np.zeros((n, 0), dtype=np.float16),
        tree_hash=TREE.hash,
        model="m",
    )
    return posterior, counts


def card_of(posterior, counts, **options):
    """Return the evaluation with a fixed generator."""
    return evaluate(TREE, posterior, counts, rng=np.random.default_rng(0), **{"repeats": 200} | options)


def test_figures_are_ratios_of_the_assessment():
    """NLL, RMSE, CRPS and coverage of a question and an answer are the sums they stand for, inside their intervals."""
    posterior, counts = make(80)
    card, judged = card_of(posterior, counts), assess(TREE, posterior, counts)
    bar = TREE.index("bar")
    found = card.questions[bar]
    rows = judged.judged[:, bar]
    assert (found.n_votes, found.fractions.n_judged) == (judged.votes[:, bar].sum(), rows.sum())
    assert found.nll_per_vote.value == pytest.approx(judged.nll[:, bar].sum() / judged.votes[:, bar].sum())
    assert found.fractions.rmse.value == pytest.approx(np.sqrt(judged.squared_error[rows][:, TREE.slices[bar]].mean()))
    assert found.fractions.crps_votes.value == pytest.approx(judged.crps_votes[rows][:, TREE.slices[bar]].mean())
    answer = card.answer("bar_yes").fractions
    place = TREE.column("bar_yes")
    expected, actual = (terms[:, place].sum(axis=0) for terms in (judged.expected, judged.actual))
    errors = [error.value for error in answer.coverage_error]
    np.testing.assert_allclose(errors, expected / actual - 1)
    for estimate in (found.nll_per_vote, found.fractions.rmse, answer.rmse, card.nll_per_vote):
        assert estimate.low < estimate.value < estimate.high


def test_a_true_model_is_calibrated_and_an_overconfident_one_is_not():
    """Votes drawn from the posterior: PIT uniform, coverage within its interval; made sharper, neither."""
    true = card_of(*make()).answer("smooth-or-featured_smooth")
    sure = card_of(*make(sharper=20.0)).answer("smooth-or-featured_smooth")
    assert true.pit_p > 0.01 > sure.pit_p
    assert true.fractions.coverage_error[2].low < 0.05
    assert sure.fractions.coverage_error[2].low > 0.05


def test_cumulative_error_is_pooled_over_recorded_entries():
    """NaN entries do not count; each of the others does once."""
    posterior, counts = make(3)
    predicted, recorded = np.full((3, TREE.n_answers), 0.5), np.full((3, TREE.n_answers), np.nan)
    recorded[0, :2], recorded[1, 0] = 0.4, 0.1
    found = card_of(posterior, counts, cumulative=(predicted, recorded)).cumulative_rmse
    assert found.value == pytest.approx(np.sqrt((0.01 + 0.01 + 0.16) / 3))
    assert card_of(posterior, counts).cumulative_rmse is None


def test_what_cannot_be_judged_is_none():
    """A question that nobody was asked has no figure; no vote at all raises."""
    posterior, counts = make(6)
    counts[:] = 0
    counts[:, 2] = 12
    card = card_of(posterior, counts)
    bar = card.questions[TREE.index("bar")]
    assert (bar.nll_per_vote, bar.fractions.rmse, bar.confident, bar.fractions.coverage_error) == (None,) * 3 + (
        (None,) * 4,
    )
    assert (card.answer("bar_yes").pit_p, card.answer("bar_yes").reliability) == (None, ())
    with pytest.raises(BadVotes, match="no galaxy has a vote"):
        card_of(posterior, counts * 0)


def test_an_evaluation_is_json_and_tables():
    """The document survives JSON; every question and answer is a line, every row as long as its heading."""
    posterior, counts = make(40)
    card = card_of(posterior, counts)
    assert json.loads(json.dumps(card.document(), allow_nan=False))["n_galaxies"] == 40
    tables = list(evaluation_tables(card))
    assert [row[0] for row in tables[1].rows] == [q.name for q in TREE.questions]
    assert [row[0] for row in tables[2].rows] == list(TREE.columns)
    for table in tables:
        assert all(len(row) == len(table.head) for row in table.rows)
        assert table.markdown().count("\n") == len(table.rows) + 1
        assert len({len(line) for line in table.text().splitlines()[1:]}) == 1


def test_an_interval_has_its_lower_end_first():
    """As a person reads it, in the cell of its figure."""
    posterior, counts = make(40)
    found = card_of(posterior, counts).nll_per_vote
    (_, _, (_, cell)) = next(evaluation_tables(card_of(posterior, counts))).rows
    assert cell == f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def test_columns_are_as_wide_as_their_longest_cell():
    """Names stand to the left, figures to the right."""
    table = TextTable(title="Title", head=("name", "n"), rows=(("a", "1,000"), ("longer", "2")))
    assert table.text() == "Title\nname        n\n-------------\na       1,000\nlonger      2"

"""Replay of recorded votes on trees whose answers are known: perfect and useless models, and fixed numbers by formula."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from alservice.backfill.plan import ALL
from alservice.backfill.votes import (
    RULES,
    asking_points,
    judged_questions,
    recorded_fractions,
    replay_votes,
    volunteer_walks,
    votes_needed,
    votes_result,
)
from alservice.errors import BadInput, BadVotes, NotFound
from alservice.science.posterior import update
from alservice.science.stopping import StoppingPolicy, stop_decisions
from alservice.science.tree import Question, Tree
from alservice.science.votes import conditional_fractions

POLICY = StoppingPolicy(rule="label", confidence=0.9, min_votes=1, max_votes=12)


def question(name, *, parents=(), answers=("yes", "no"), task="T0"):
    """Return a question."""
    return Question(
        name=name, text=name, answers=answers, labels=answers, parents=parents, task=task, task_answers=answers
    )


TREE = Tree(
    name="tiny",
    questions=(
        question("disk"),
        question("bar", parents=("disk_yes",), answers=("none", "weak", "strong"), task="T1"),
    ),
)


def galaxies(n=60, *, seed=0):
    """Return fractions (N, A) of disks with clear and unclear votes."""
    rng = np.random.default_rng(seed)
    disk = rng.uniform(0.1, 0.95, n)
    bar = rng.dirichlet((1.0, 1.0, 1.0), n)
    return np.column_stack([disk, 1 - disk, bar]), tuple(f"g{row:03}" for row in range(n))


def replayed(concentrations, *, seeds=2, policy=POLICY, n=60, **options):
    """Return replays of some galaxies with a model's concentrations."""
    fractions, ids = galaxies(n)
    return [
        replay_votes(
            TREE,
            fractions,
            volunteer_walks(TREE, fractions, ids, volunteers=policy.max_votes, seed=seed),
            concentrations,
            policy=policy,
            seed=seed,
            **options,
        )
        for seed in range(seeds)
    ]


def result(replays):
    """Return figures with few samples, by question, rule and setting."""
    found = votes_result(TREE, replays, rng=np.random.default_rng(0), repeats=50)
    points = {
        (f.question, f.point.rule, f.point.confidence or f.point.min_gain or f.point.max_votes): f
        for f in found.figures
    }
    return points, {(s.question, s.rule): s for s in found.savings}


def test_a_fixed_number_of_votes_is_what_the_binomial_gives() -> None:
    """RMSE is the root of p (1 - p) / n, and the majority is right as often as a binomial says, ties shared."""
    p, n_galaxies = 0.7, 4000
    fractions = np.tile([p, 1 - p, 0.2, 0.3, 0.5], (n_galaxies, 1))
    ids = tuple(map(str, range(n_galaxies)))
    policy = StoppingPolicy(rule="label", min_votes=1, max_votes=4, questions=("disk",))
    walks = volunteer_walks(TREE, fractions, ids, volunteers=4, seed=0)
    flat = np.ones((n_galaxies, 1, 5))
    points, _ = result([replay_votes(TREE, fractions, walks, flat, policy=policy, seed=0)])
    for n in (1, 2, 3, 4):
        found = points["disk", "fixed", n]
        half = stats.binom.pmf(n / 2, n, p) if n % 2 == 0 else 0
        assert found.votes.value == n
        assert found.rmse.value == pytest.approx(np.sqrt(p * (1 - p) / n), rel=0.03)
        assert found.accuracy.value == pytest.approx(stats.binom.sf(n / 2, n, p) + half / 2, abs=0.02)
    assert points["disk", "fixed", 4].galaxies == n_galaxies
    assert not any(name == "bar" for name, _, _ in points), "a question that is not named is not judged"


def test_a_perfect_model_needs_few_votes() -> None:
    """It knows every label at the least number of votes, where votes alone need many."""
    fractions, _ = galaxies()
    points, savings = result(replayed(fractions[:, None, :] * 500))
    found = points["disk", "sequential+model", 0.9]
    alone = points["disk", "sequential", 0.9]
    assert found.votes.value < 2 < alone.votes.value
    assert found.accuracy.value > 0.97
    assert points[ALL, "sequential+model", 0.9].votes.value < points[ALL, "sequential", 0.9].votes.value
    saving = savings["disk", "sequential+model"]
    assert saving.labels_reached
    assert saving.labels.low <= saving.labels.value <= saving.labels.high < 4
    assert savings["disk", "fixed+model"].fractions.value <= 1.5
    assert not savings["disk", "sequential"].labels_reached or savings["disk", "sequential"].labels.value <= 12


def test_a_useless_model_costs_no_accuracy() -> None:
    """A flat prior with as little weight as a vote: the posterior is that of votes alone."""
    points, _ = result(replayed(np.ones((60, 3, 5))))
    for (name, rule, setting), found in points.items():
        if rule == "sequential+model":
            alone = points[name, "sequential", setting]
            assert found == dataclasses.replace(alone, point=found.point)


def test_a_wrong_model_is_tempered() -> None:
    """Sure of the opposite it is believed at once; counted as less than a vote it does little harm."""
    fractions, _ = galaxies()
    wrong = fractions[:, None, [1, 0, 2, 3, 4]] * 200
    points, _ = result(replayed(wrong))
    tempered, _ = result(replayed(wrong, temper=np.array([0.002, 1.0])))
    believed, doubted = (each["disk", "sequential+model", 0.99].accuracy.value for each in (points, tempered))
    assert believed < 0.3 < 0.7 < doubted


@pytest.mark.parametrize(
    ("rule", "replayed_as", "threshold"), [("label", "sequential+model", 0.9), ("gain", "gain+model", 0.02)]
)
@pytest.mark.parametrize("questions", [(), ("disk",), ("bar",)])
def test_asking_ends_where_the_stopping_rule_says(questions, rule, replayed_as, threshold) -> None:
    """Vote by vote the same as `stop_decisions`, of the tree and of every question alone."""
    fractions, ids = galaxies(20)
    concentrations = np.random.default_rng(1).gamma(2.0, 2.0, (20, 4, 5))
    policy = dataclasses.replace(POLICY, questions=questions, min_votes=2, min_gain=0.02)
    walks = volunteer_walks(TREE, fractions, ids, volunteers=12, seed=3)
    found = replay_votes(TREE, fractions, walks, concentrations, policy=policy, seed=7)
    place = next(
        place
        for place, point in enumerate(found.points)
        if (point.rule, point.confidence or point.min_gain) == (replayed_as, threshold)
    )
    column = TREE.index(questions[0]) if questions else TREE.n_questions
    spent = np.zeros(20, dtype=int)
    counts = np.zeros((20, 5), dtype=int)
    starts = [part.start for part in TREE.slices]
    for n in range(1, 13):
        for row, answers in enumerate(walks[:, n - 1]):
            for index, answer in enumerate(answers):
                counts[row, starts[index] + answer] += answer >= 0
        mixture = update(TREE, concentrations, counts)
        stops = stop_decisions(TREE, dataclasses.replace(policy, rule=rule), mixture, counts, seed=7)
        for row, decision in enumerate(stops):
            if decision.stop and not spent[row]:
                spent[row] = n
    assert found.votes[place, :, column].tolist() == spent.tolist()
    assert set(spent) > {12}


def test_no_votes_at_all_may_be_enough() -> None:
    """Where `min_votes` is 0 a certain model asks nobody."""
    fractions, _ = galaxies()
    policy = dataclasses.replace(POLICY, min_votes=0)
    points, _ = result(replayed(fractions[:, None, :] * 500, policy=policy))
    assert points["disk", "sequential+model", 0.9].votes.value < 0.5


def test_answers_that_the_record_lacks_are_not_waited_for() -> None:
    """Disks without a recorded bar end with the disk; where nobody saw a disk, nobody's bar is lacking."""
    fractions = np.array([[0.95, 0.05, np.nan, np.nan, np.nan], [0.95, 0.05, 0.4, 0.3, 0.3], [0.0, 1.0] + [np.nan] * 3])
    ids = ("lost", "known", "round")
    walks = volunteer_walks(TREE, fractions, ids, volunteers=12, seed=0)
    found = replay_votes(TREE, fractions, walks, np.ones((3, 1, 5)), policy=POLICY, seed=0)
    place = next(p for p, point in enumerate(found.points) if (point.rule, point.confidence) == ("sequential", 0.9))
    disk, tree = found.votes[place, :, 0], found.votes[place, :, -1]
    assert tree[0] == disk[0] < 12
    assert tree[1] == 12
    assert tree[2] == disk[2] < 12


def test_curves_do_not_depend_on_how_galaxies_are_cut(monkeypatch) -> None:
    """Blocks bound the memory, and change nothing."""
    concentrations = np.random.default_rng(1).gamma(2.0, 2.0, (60, 4, 5))
    whole = replayed(concentrations, seeds=1)[0]
    monkeypatch.setattr("alservice.backfill.votes.row_slices", lambda n, _: [slice(s, s + 7) for s in range(0, n, 7)])
    cut = replayed(concentrations, seeds=1)[0]
    for name in ("votes", "right", "squared"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name))


def test_questions_are_judged_where_they_are_asked() -> None:
    """Of at least half of the recorded volunteers, and where something is recorded."""
    fractions = np.array([[0.6, 0.4, 0.2, 0.3, 0.5], [0.4, 0.6, 0.2, 0.3, 0.5], [0.9, 0.1, np.nan, np.nan, np.nan]])
    assert judged_questions(TREE, fractions, POLICY).tolist() == [[True, True], [True, False], [True, False]]
    points, _ = result(
        [
            replay_votes(
                TREE,
                fractions,
                volunteer_walks(TREE, fractions, ("a", "b", "c"), volunteers=12, seed=0),
                np.ones((3, 1, 5)),
                policy=POLICY,
                seed=0,
            )
        ]
    )
    assert [points[name, "fixed", 12].galaxies for name in ("disk", "bar", ALL)] == [3, 1, 3]


def test_fractions_are_recorded_or_counted() -> None:
    """Counted votes count where no fractions are."""
    counts = np.array([[6, 2, 1, 2, 3], [0, 0, 0, 0, 0]])
    fractions = np.array([[np.nan] * 5, [0.5, 0.5, 0.2, 0.3, 0.5]])
    shares = recorded_fractions(TREE, ("a", "b"), counts, fractions)
    assert np.array_equal(shares[0], conditional_fractions(TREE, counts)[0])
    assert np.array_equal(shares[1], fractions[1])


def test_votes_that_no_walk_gives_are_refused_by_name() -> None:
    """More who were asked of a bar than saw a disk; fractions beyond their sum."""
    with pytest.raises(BadVotes, match="galaxy b: question 'bar' has counts"):
        recorded_fractions(TREE, ("a", "b"), np.array([[6, 2, 1, 2, 3], [1, 7, 1, 2, 3]]), np.full((2, 5), np.nan))
    for row in ([0.5, 0.6, 0.2, 0.3, 0.5], [1.2, -0.2, 0.2, 0.3, 0.5], [0.5, np.nan, 0.2, 0.3, 0.5]):
        with pytest.raises(BadVotes, match="galaxy a: question 'disk' has fractions"):
            recorded_fractions(TREE, ("a",), np.zeros((1, 5), dtype=int), np.array([row]))


def test_what_cannot_be_replayed_is_refused() -> None:
    """Another rule, an unknown question, too few volunteers, replays of different galaxies, nothing judged."""
    flat = np.ones((60, 1, 5))
    with pytest.raises(BadInput, match="'label'"):
        replayed(flat, policy=dataclasses.replace(POLICY, rule="value"))
    with pytest.raises(NotFound, match="no question 'ring'"):
        replayed(flat, policy=dataclasses.replace(POLICY, questions=("ring",)))
    with pytest.raises(BadInput, match="do not fit"):
        replayed(np.ones((59, 1, 5)))
    one = replayed(flat, seeds=1)
    with pytest.raises(BadInput, match="2 replays of 2 kinds"):
        result([*one, *replayed(flat, seeds=1, policy=dataclasses.replace(POLICY, max_votes=3))])
    with pytest.raises(BadInput, match="is judged"):
        result([dataclasses.replace(one[0], judged=np.zeros_like(one[0].judged))])


def test_every_fixed_number_and_every_certainty_is_a_point() -> None:
    """The certainty that is asked for is one of them."""
    points = asking_points(dataclasses.replace(POLICY, confidence=0.93))
    assert [p.max_votes for p in points if p.rule == "fixed"] == list(range(1, 13))
    assert {p.rule for p in points if p.confidence == 0.93} == {"sequential", "sequential+model"}
    assert {p.rule for p in points} == set(RULES)


def test_votes_needed_are_read_off_a_falling_curve() -> None:
    """Interpolated; a bump does not count; beyond the curve all votes are needed, before it its first."""
    votes, errors = np.array([1.0, 3.0, 2.0, 4.0]), np.array([0.4, 0.1, 0.2, 0.1])
    assert votes_needed(votes, errors, 0.15, most=40) == pytest.approx(2.5)
    assert votes_needed(votes, errors, 0.1, most=40) == 3
    assert votes_needed(votes, errors, 0.05, most=40) == 40
    assert votes_needed(votes, errors, 0.5, most=40) == 1

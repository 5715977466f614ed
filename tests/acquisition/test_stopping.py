"""When asking stops in the loop: decisions from posterior and votes, their evidence, and where the full number stays."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from alservice.acquisition.stopping import Asking, StopFigures, StopReport
from alservice.campaigns.campaign import StoppingRule, ZooniverseTarget
from alservice.campaigns.policies import Arm
from alservice.catalogue.galaxies import Shard
from alservice.errors import ObjectStoreUnavailable
from alservice.ids import seed_of
from alservice.prediction.scope import Scope
from alservice.science.fusion import fit_temper
from alservice.science.posterior import take, update
from alservice.science.stopping import stop_decisions
from alservice.science.tree import load_tree
from alservice.states import AskingState, SubjectState
from alservice.storage import arrays
from alservice.subjects.retire import AskVotes
from alservice.testing.memory import CHAMPION, SHARD_GALAXIES
from tests.support.stopping import FEATURED, FIRST, FULL, RULE, SMOOTH, N, World, model, votes
from tests.support.worlds import NOON, TREE


def test_asking_stops_where_the_majority_is_certain_and_goes_on_elsewhere() -> None:
    """The model is sure of every fourth galaxy: there, few votes that agree suffice; with the evidence on record."""
    world = World()
    world.vote(g04=votes(4), g05=votes(1, 1), g08=votes(1))
    report = world.tick()
    assert (report.evaluated, report.stopped, report.again) == (2, 1, 0)  # of g08 there are too few to look
    assert set(world.stops.stopped(1)) == {"g04"}
    (event,) = world.told("subjects.stopped")
    (subject,) = event["subjects"]
    assert event["model"] == CHAMPION
    assert event["temper"].keys() == {question.name for question in TREE.questions}
    assert (subject["galaxy"], subject["votes"], subject["full_votes"], subject["rule"]) == ("g04", 4, FULL, "label")
    assert subject["counts"][FIRST][SMOOTH] == 4
    smooth = next(a for a in subject["posterior"][FIRST] if a["answer"] == SMOOTH)
    assert smooth["majority"] > 0.9 > 0.5 < smooth["mean"]
    assert "asking ends after 4 votes" in subject["text"]


def test_the_decision_is_that_of_the_rule_on_the_tempered_posterior_after_votes() -> None:
    """The loop adds nothing to the mathematics: factors fitted on the members, draws updated, the rule applied."""
    world = World()
    counts = {f"g{n:02}": votes(n % 7, n % 3) for n in range(N) if n % 6}
    world.vote(**counts)
    world.tick()
    members = world.member_votes()
    rows = [int(name[1:]) for name in members]
    temper = fit_temper(TREE, world.posterior.concentrations[rows], np.array(list(members.values())))
    fused = world.stops.fused(1)
    assert fused is not None
    assert list(fused.temper.values()) == pytest.approx(temper.tolist(), rel=1e-3)
    assert (fused.n_galaxies, fused.n_votes) == (8, sum(int(c.sum()) for c in members.values()))
    asked = [name for name, votes_of_one in counts.items() if votes_of_one[:2].sum() >= RULE.min_votes]
    given = np.array([counts[name] for name in asked])
    draws = world.posterior.concentrations[[int(name[1:]) for name in asked]]
    mixture = update(TREE, draws, given, temper=np.array(list(fused.temper.values())))
    seed = seed_of(world.memory.campaign.seed, "majority")
    expected = stop_decisions(TREE, RULE.policy(FULL), mixture, given, seed=seed)
    assert {name for name, decision in zip(asked, expected, strict=True) if decision.stop} == set(
        world.stops.stopped(1)
    )
    assert 0 < len(world.stops.stopped(1)) < len(asked)
    recorded = world.stops.of_galaxies(1, asked)
    assert [recorded[name].detail["figure"] for name in asked] == pytest.approx([d.figure for d in expected])


@pytest.mark.parametrize(
    ("rule", "figure"),
    [
        (replace(RULE, rule="precision", target_sd=0.05), lambda asking: asking.figure <= 0.05),
        (replace(RULE, rule="value", min_information=0.02), lambda asking: asking.figure <= 0.02),
        (replace(RULE, confidence=0.999999, max_votes=6), lambda asking: asking.reason == "all-votes"),
    ],
)
def test_every_rule_stops_by_its_own_figure(rule: StoppingRule, figure: Callable[[Asking], bool]) -> None:
    """Two votes do not suffice, and what suffices is named."""
    world = World(rule)
    world.vote(g05=votes(1, 1))
    assert world.tick().stopped == 0
    world.vote(g05=votes(40) if rule.rule != "label" else votes(3, 3))
    assert world.tick().stopped == 1
    assert figure(world.asking("g05"))
    assert world.asking("g05").rule == rule.rule


def test_later_votes_that_contradict_bring_a_galaxy_back_and_it_may_stop_again() -> None:
    """Overshoot is kept and counted; every change is told once, with its evidence."""
    world = World()
    world.vote(g04=votes(3))
    world.tick()
    world.move("g04", SubjectState.RETIRED)
    world.vote(g04=votes(4, 1))
    assert world.tick().stopped == 0  # it is stopped already
    assert (world.asking("g04").overshoot, world.asking("g04").state) == (2, AskingState.STOPPED)
    assert world.service.figures(1).overshoot == 2
    world.vote(g04=votes(4, 14))
    assert (world.tick().again, dict(world.stops.stopped(1))) == (1, {})
    assert (world.asking("g04").overshoot, world.asking("g04").questions[0].answers[1].votes) == (0, 14)
    (event,) = world.told("subjects.asked-again")
    assert event["subjects"][0]["counts"][FIRST] == {SMOOTH: 4, FEATURED: 14, TREE.columns[2]: 0}
    world.move("g04", SubjectState.LIVE)
    assert world.asking("g04").state is AskingState.AGAIN
    world.vote(g04=votes(5, 90))
    assert world.tick().stopped == 1
    assert world.asking("g04").state is AskingState.STOPPED
    assert len(world.told("subjects.stopped")) == 2


@pytest.mark.parametrize(
    ("arm", "galaxy", "reason"), [("random", "g04", "random-arm"), ("easy", "g12", "evaluation-stream")]
)
def test_what_keeps_estimates_unbiased_is_asked_its_full_number(arm: str, galaxy: str, reason: str) -> None:
    """Members of the evaluation stream and of the random arm never stop early, however certain the model is."""
    world = World(arm=Arm(arm))
    world.vote(**{galaxy: votes(19)})
    assert world.tick().stopped == 0
    asking = world.asking(galaxy)
    assert (asking.state, asking.reason) == (AskingState.ASKING, reason)
    assert "full number of 20 votes" in asking.text


def test_a_galaxy_that_no_batch_names_counts_as_drawn_at_random() -> None:
    """Nothing is stopped by accident where nobody knows why it is asked about."""
    world = World()
    world.batches.rows.clear()
    world.vote(g04=votes(19))
    world.tick()
    assert world.asking("g04").reason == "random-arm"


def test_without_a_champion_the_full_number_is_asked_and_that_is_said_once() -> None:
    """One event for the cycle, not one a tick."""
    world = World(champion=False)
    for n in (5, 6):
        world.vote(g04=votes(n))
        assert world.tick().stopped == 0
    (event,) = world.told("stopping.off")
    assert (event["why"], event["model_id"]) == ("no-champion", None)
    assert world.asking("g04").reason == "no-champion"
    assert world.asking("g04").questions == ()


def other_tree(world: World) -> None:
    """Store posteriors that follow another tree."""
    tree = load_tree("gz-decals-dr5")
    draws = np.ones((N, 3, tree.n_answers), dtype=np.float32)
    replaced = replace(world.posterior, concentrations=draws, tree_hash=tree.hash)
    world.models.shards.clear()
    for scope in (Scope.CATALOGUE, Scope.EVALUATION):
        world.keep(replaced, scope)


def lose(world: World) -> None:
    """Delete a shard's bytes."""
    (shard,) = [s for s in world.models.posterior_shards(CHAMPION, 1, "catalogue") if s.index == 0]
    world.memory.objects.content.pop(shard.key)


def damage(world: World) -> None:
    """Change a shard's bytes."""
    (shard,) = [s for s in world.models.posterior_shards(CHAMPION, 1, "catalogue") if s.index == 0]
    world.memory.objects.content[shard.key] = b"no posterior"


def unlist(world: World) -> None:
    """Let a shard never have been predicted."""
    del world.models.shards[CHAMPION, 1, "catalogue"][0]


def without_galaxy(world: World) -> None:
    """Store a first shard that lacks the galaxy, as where its image could not be read."""
    rows = np.array([row for row in range(SHARD_GALAXIES) if row != 4])
    data = arrays.encode_posterior(take(world.posterior, rows))
    key = world.memory.objects.put(data, kind="posteriors", suffix=".parquet").key
    world.models.shards[CHAMPION, 1, "catalogue"][0] = Shard(index=0, key=key, n_galaxies=len(rows), n_failed=1)


def of_another_model(world: World) -> None:
    """Let the champion be another model than the one that predicted."""
    world.models.models[CHAMPION] = model(CHAMPION, digest="another")


def taught(world: World) -> None:
    """Let the champion have been trained on votes of the galaxy."""
    world.teach({**world.member_votes(), "g04": votes(5)})


def without_snapshot(world: World) -> None:
    """Lose what the champion was trained with."""
    world.snapshots.clear()


def without_member_votes(world: World) -> None:
    """Let nobody have voted on the evaluation stream."""
    world.teach({"g05": votes(5)})


FAULTS = {
    other_tree: "other-tree",
    lose: "unreadable-posterior",
    damage: "unreadable-posterior",
    unlist: "no-posterior",
    without_galaxy: "no-posterior",
    of_another_model: "unreadable-posterior",
    taught: "trained-on",
    without_snapshot: "unreadable-posterior",
    without_member_votes: "no-temper",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_posterior_that_cannot_be_used_stops_nothing_and_is_told(fault: Callable[[World], None]) -> None:
    """The full number is asked, by name of the reason; each reason once, whatever the number of ticks."""
    world = World()
    fault(world)
    for n in (5, 6):
        world.vote(g04=votes(n), g20=votes(n))
        world.tick()
    assert "g04" not in world.stops.stopped(1)
    assert world.asking("g04").reason == FAULTS[fault]
    said = [*world.told("stopping.off"), *world.told("subjects.full-number")]
    assert len([event for event in said if "subjects" not in event or event["subjects"][0]["galaxy"] == "g04"]) == 1
    if fault in {lose, damage, unlist, without_galaxy, taught}:
        assert "g20" in world.stops.stopped(1)  # one galaxy's fault is not another's


def test_a_posterior_that_was_lost_after_a_stop_is_no_reason_to_stay_stopped() -> None:
    """With later votes and nothing to fuse them with, the full number is asked."""
    world = World()
    world.vote(g04=votes(5))
    world.tick()
    lose(world)
    assert world.tick().evaluated == 0  # without later votes nothing is asked of the store
    world.vote(g04=votes(6))
    assert world.tick().again == 1


def test_votes_that_no_walk_gives_stop_nothing() -> None:
    """More answered a question than chose the answer before it: their own tally is flagged, and others go on."""
    world = World()
    odd = votes(5)
    odd[TREE.columns.index("how-rounded_round")] = 9
    world.vote(g04=odd, g08=votes(5))
    world.tick()
    assert set(world.stops.stopped(1)) == {"g08"}
    assert world.asking("g04").reason == "inconsistent-votes"


def test_only_galaxies_with_new_votes_cost_anything() -> None:
    """One object per shard that holds such a galaxy; the same votes again read nothing and write nothing."""
    world = World()
    world.vote(g04=votes(5), g05=votes(3), g20=votes(5))
    world.tick()
    world.objects.read.clear()
    before, events = dict(world.stops.rows), len(world.stops.events)
    assert world.tick() == StopReport()
    assert (world.objects.read, world.stops.rows, len(world.stops.events)) == ([], before, events)
    world.vote(g20=votes(6))
    assert world.tick().evaluated == 1
    shards = {shard.key for shard in world.models.posterior_shards(CHAMPION, 1, "catalogue")}
    assert len([key for key in world.objects.read if key in shards]) == 1


def test_a_store_that_does_not_answer_is_tried_again_and_nothing_is_decided() -> None:
    """An outage is no missing posterior: the galaxy stops with the next tick."""
    world = World()
    world.vote(g05=votes(1, 1))
    world.tick()
    world.vote(g04=votes(5))
    world.objects.down = True
    with pytest.raises(ObjectStoreUnavailable):
        world.tick()
    assert "g04" not in world.stops.of_galaxies(1, ["g04"])
    world.objects.down = False
    assert world.tick().stopped == 1


def test_another_cycle_that_asks_knows_nothing_of_the_last_ones_decisions() -> None:
    """A galaxy that is asked about anew is not stopped by what was known then."""
    world = World()
    world.vote(g04=votes(5))
    world.tick()
    row = world.memory.ledger.of_galaxy(1, "g04")
    assert row is not None
    world.memory.ledger.ask([row], cycle_id=2, n_votes=FULL)
    assert dict(world.stops.stopped(1)) == {}
    assert world.asking("g04").reason == "too-few-votes"


def test_what_retired_in_an_earlier_cycle_is_left_alone() -> None:
    """Its votes were frozen for training: later ones do not bring it back."""
    world = World()
    world.vote(g04=votes(5))
    world.tick()
    world.move("g04", SubjectState.RETIRED)
    world.vote(g04=votes(4, 14))
    later = replace(world.cycle, id=2)
    assert world.service.decide(world.memory.row, later, actor="test").evaluated == 0
    assert world.tick().again == 1


def test_more_votes_asked_for_are_looked_at_again() -> None:
    """The full number is part of the decision."""
    world = World(replace(RULE, confidence=0.999999))
    world.vote(g05=votes(10, 10))
    world.tick()
    assert world.asking("g05").reason == "all-votes"
    assert dict(world.stops.stopped(1)) == {}  # the ledger's own count ends it
    row = world.memory.ledger.of_galaxy(1, "g05")
    assert row is not None
    world.memory.ledger.ask([row], cycle_id=1, n_votes=40)
    assert world.tick().evaluated == 1
    assert world.asking("g05").reason == "not-yet-known"


def test_what_a_person_asks_for_is_asked_whatever_is_known() -> None:
    """A galaxy that had stopped comes back, and more votes that agree do not stop it again before its number."""
    world = World()
    world.vote(g04=votes(5))
    world.tick()
    ask = AskVotes(world.memory.ledger, world.stops, world, lambda: NOON, actor="ada")
    assert [row.galaxy_id for row in ask.run(world.memory.row, ["g04"], FULL, reason="a lens?")] == ["g04"]
    assert dict(world.stops.stopped(1)) == {}
    assert "ada asked for them, a lens?" in world.asking("g04").text
    world.vote(g04=votes(9))
    world.tick()
    assert (world.asking("g04").state, world.asking("g04").reason) == (AskingState.AGAIN, "person")
    assert len(world.told("subjects.stopped")) == 1


def test_figures_of_a_cycle_say_what_was_spared() -> None:
    """The full number less the votes there are, over galaxies that stopped early."""
    world = World()
    world.vote(g04=votes(5), g08=votes(4), g05=votes(1, 1))
    world.tick()
    figures = world.service.figures(1)
    assert (figures.galaxies, figures.stopped, figures.again) == (3, 2, 0)
    assert (figures.spared, figures.overshoot) == (2 * FULL - 9, 0)
    assert world.service.figures(2) == StopFigures()


def test_what_a_page_shows_of_a_galaxy() -> None:
    """Votes so far and the posterior with them, decided or not; nothing of one that nobody was asked about."""
    world = World()
    world.vote(g04=votes(1))
    asking = world.asking("g04")
    assert (asking.votes, asking.full_votes, asking.reason, asking.decided_at) == (1, FULL, "too-few-votes", None)
    assert asking.questions == ()  # before the first decision nothing is fitted
    world.vote(g04=votes(5))
    world.tick()
    asking = world.asking("g04")
    first = asking.questions[0]
    assert (first.question, first.counts, asking.question) == (FIRST, True, FIRST)
    assert sum(answer.mean for answer in first.answers) == pytest.approx(1)
    assert first.answers[0].majority == pytest.approx(asking.figure)
    assert [question.counts for question in asking.questions].count(True) == 1
    assert (asking.model_id, asking.decided_at) == (CHAMPION, NOON)
    world.move("g05", SubjectState.RETIRED)
    world.vote(g05=votes(20))
    assert (world.asking("g05").state, world.asking("g05").reason) == (AskingState.STOPPED, "all-votes")
    assert world.service.galaxy("test", "g99") is None


def test_a_campaign_without_the_rule_decides_nothing() -> None:
    """Its galaxies get their full number, and no page says otherwise."""
    world = World()
    world.memory.campaign = replace(
        world.memory.campaign, zooniverse=ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="own")
    )
    world.vote(g04=votes(5))
    assert world.service.decide(world.memory.row, world.cycle, actor="test") == StopReport()
    assert world.service.galaxy("test", "g04") is None

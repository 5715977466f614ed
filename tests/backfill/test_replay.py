"""Runs of a backfill on galaxies in memory: paired, repeatable, resumable, and never asked twice."""

from dataclasses import replace

import numpy as np
import pytest

from alservice.backfill.plan import target_of
from alservice.backfill.replay import INITIAL, Replay
from alservice.campaigns.policies import GatePolicy
from alservice.errors import BadConfig
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig, decay_of
from alservice.offline.training import TrainNetwork
from alservice.progress import NoProgress
from alservice.science.tree import load_tree
from tests.support.backfills import Rounds, a_plan, galaxies_of

TARGET = target_of(load_tree("gz2"), "smooth")


def make_replay(store=None, target=TARGET, **plan):
    """Return a replay of a tiny network."""
    return Replay(
        target=target,
        plan=a_plan(**plan),
        pool=galaxies_of(target, 40, seed=1, prefix="p"),
        test=galaxies_of(target, 30, seed=2, prefix="t"),
        training=FitConfig(network=NetworkConfig(image_px=16, heads=2), steps=3, batch=4, threads=1, looks=1),
        gate=GatePolicy(min_galaxies=10, min_question_galaxies=10, repeats=100),
        learner=TrainNetwork(tree=target.tree, device="cpu", code_revision="test", progress=NoProgress()),
        rounds=Rounds() if store is None else store,
        seconds=lambda: 0.0,
    )


def documents(run):
    """Return what can be compared of a run."""
    return [done.document() for done in run]


def test_each_round_adds_its_batch_and_no_galaxy_comes_twice() -> None:
    """Labels grow by the batch; the test galaxies never train."""
    run = make_replay().run("power_bald", 0)
    assert [done.labels for done in run] == [10, 14, 18]
    chosen = [choice.galaxy_id for done in run for choice in done.chosen]
    assert len(set(chosen)) == 18
    assert all(galaxy_id.startswith("p") for galaxy_id in chosen)
    assert all(choice.score is not None for done in run[1:] for choice in done.chosen)
    assert run[0].verdict == "promote"


def test_policies_of_a_seed_begin_alike_and_seeds_do_not() -> None:
    """The first round is one object for all policies, so a comparison is paired."""
    replay = make_replay()
    bald, random, other = replay.run("bald", 0), replay.run("random", 0), replay.run("random", 1)
    assert bald[0] is random[0]
    assert [c.galaxy_id for c in bald[1].chosen] != [c.galaxy_id for c in random[1].chosen]
    assert {c.galaxy_id for c in other[0].chosen} != {c.galaxy_id for c in random[0].chosen}
    assert all(choice.score is None for done in random for choice in done.chosen)


def test_the_same_seed_gives_the_same_curve() -> None:
    """To the last bit, in another process or folder."""
    first, second = make_replay().run("power_bald", 3), make_replay().run("power_bald", 3)
    assert documents(first) == documents(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.terms, other.terms)


@pytest.mark.parametrize("kept", [1, 2])
def test_a_run_that_died_goes_on_as_if_it_had_not(kept) -> None:
    """Finished rounds are found, the next is chosen by the same champion."""
    whole = make_replay().run("bald", 0)
    rounds = Rounds()
    make_replay(rounds).run("bald", 0)
    for number in range(kept, 3):
        del rounds.done["bald", 0, number]
    assert documents(make_replay(rounds).run("bald", 0)) == documents(whole)


def test_a_finished_round_is_not_trained_again(monkeypatch) -> None:
    """What is done is read."""
    rounds = Rounds()
    make_replay(rounds).run("random", 0)

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(TrainNetwork, "run", never)
    assert len(make_replay(rounds).run("random", 0)) == 3


def test_too_few_galaxies_above_a_threshold_leave_the_rest_to_chance() -> None:
    """The budget is spent all the same, so that curves have the same labels."""
    run = make_replay().run("threshold", 0)
    assert [done.labels for done in run] == [10, 14, 18]


def test_a_candidate_that_the_gate_keeps_out_does_not_choose() -> None:
    """The next batch is the live champion's choice, as in the live loop."""
    rounds = Rounds()
    replay = replace(make_replay(rounds), gate=GatePolicy(min_galaxies=1000))
    run = replay.run("bald", 0)
    assert [done.verdict for done in run] == ["promote", "hold", "hold"]
    assert [done.champion_round for done in run] == [0, 0, 0]
    newest = replace(replay, rounds=Rounds(), plan=a_plan(gated=False)).run("bald", 0)
    assert [done.champion_round for done in newest] == [0, 1, 2]


@pytest.mark.parametrize("policy", ["epig", "entropy", "softmax_bald", "batch_bald", "batch_epig"])
def test_every_policy_runs_on_the_whole_tree(policy) -> None:
    """The same protocol with all questions at once."""
    target = target_of(load_tree("gz2"), "all")
    run = make_replay(target=target, question="all", rounds=1).run(policy, 0)
    assert run[-1].labels == 14
    assert np.isfinite(run[-1].nll_per_vote)


def test_training_grows_with_the_labels(monkeypatch) -> None:
    """Steps as the passes take, never fewer than asked; weight decay acts alike in long and short runs."""
    trained = []
    run = TrainNetwork.run

    def watched(self, galaxies, config, **options):
        trained.append((len(galaxies.galaxy_ids), config.steps, config.weight_decay))
        return run(self, galaxies, config, **options)

    monkeypatch.setattr(TrainNetwork, "run", watched)
    make_replay(passes=1.5).run("random", 0)
    assert [(labels, steps) for labels, steps, _ in trained] == [(10, 4), (14, 6), (18, 7)]
    assert {decay for _, _, decay in trained} == {decay_of(7)}


@pytest.mark.parametrize("fair", [0, 3])
def test_epig_asks_about_the_survey_and_not_about_a_selection(monkeypatch, fair) -> None:
    """Its target is the part of the pool that samples the survey; all of it where no part is known to."""
    targets = []

    def watched(*_, target, **__):
        targets.append(len(target))
        return np.ones(30)

    monkeypatch.setattr("alservice.backfill.replay.policy_scores", watched)
    replay = make_replay(rounds=1)
    pool = replace(replay.pool, unbiased=np.arange(40) < fair)
    replace(replay, pool=pool).run("epig", 0)
    assert targets == [fair or 40]


def test_what_is_left_is_ranked_by_the_last_champion() -> None:
    """Best first, without what is labelled."""
    replay = make_replay()
    run = replay.run("bald", 0)
    ids, scores = replay.ranked("bald", run)
    assert len(ids) == 22
    assert not {choice.galaxy_id for done in run for choice in done.chosen} & set(ids)
    assert (np.diff(scores) <= 0).all()


def test_an_unknown_policy_is_refused() -> None:
    """Before anything is trained for it."""
    with pytest.raises(BadConfig, match="initial"):
        make_replay().run(INITIAL, 0)

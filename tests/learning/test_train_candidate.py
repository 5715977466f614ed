"""Training in the service: resumes from its own checkpoints, and sees what the campaign says it sees."""

from dataclasses import replace

import pytest

from alservice.campaigns.campaign import ImagePolicy, TrainingPolicy
from alservice.campaigns.cycle import CycleState
from alservice.learning.training import KeepCheckpoints
from tests.cycle.test_cycle import Loop
from tests.support.worlds import TREE

TRAINING = TrainingPolicy(steps=20, batch_galaxies=4, min_new_votes=1, threads=1)


class DiedError(Exception):
    """Stands for a process that dies."""


class Steps:
    """A progress that counts."""

    def __init__(self) -> None:
        self.done = 0

    def start(self, what: str, total: int | None) -> None:
        """Begin at nothing."""
        self.done = 0

    def advance(self, n: int = 1) -> None:
        """Count."""
        self.done += n

    def note(self, text: str) -> None:
        """Expect a figure."""
        assert text.startswith("NLL ")

    def finish(self) -> None:
        """Stop."""


@pytest.fixture
def loop(engine, tmp_path):
    """A loop that is about to train on the centres of its images."""
    return Loop(engine, tmp_path, training=TRAINING, images=ImagePolicy(size_px=32, field=0.5, shard_galaxies=16))


def test_a_training_that_died_goes_on_from_its_checkpoint(loop, monkeypatch):
    """The second attempt takes only the steps that are left, gives the bytes of one that never died, and clears up."""
    cycle = loop.run(loop.start(), until=CycleState.TRAINING)
    steps = Steps()
    service = replace(loop.factory.learning.training, progress=steps)
    keep, kept = KeepCheckpoints.keep, []

    def keep_two(self, checkpoint):
        keep(self, checkpoint)
        kept.append(checkpoint)
        if len(kept) == 2:
            raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(KeepCheckpoints, "keep", keep_two)
        with pytest.raises(DiedError):
            service.run(loop.campaign, cycle)
    assert steps.done == 4
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "note", lambda _self, text: taken.append(text))
        model = service.run(loop.campaign, cycle)
    assert (len(taken), steps.done) == (16, 20)
    assert not list(loop.factory.objects.keys("checkpoints-"))
    assert model.card["network"]["field"] == 0.5
    snapshot = loop.factory.snapshots.of_cycle(cycle.id)
    again = KeepCheckpoints(objects=loop.factory.objects, run="unbroken")
    _, data = service._fit(loop.campaign, cycle, TREE, service._training_set(cycle, TREE), snapshot, again)
    assert data == loop.factory.objects.get(model.key)


def test_a_checkpoint_of_other_votes_is_not_gone_on_from(loop):
    """A run with another configuration under the same name is dropped, not continued."""
    cycle = loop.run(loop.start(), until=CycleState.TRAINING)
    service = replace(loop.factory.learning.training, progress=Steps())
    tallies, snapshot = service._training_set(cycle, TREE), loop.factory.snapshots.of_cycle(cycle.id)
    checkpoints = KeepCheckpoints(objects=loop.factory.objects, run=f"{loop.campaign.settings.name}-{cycle.number}")
    other = replace(loop.campaign, settings=replace(loop.campaign.settings, seed=99))
    service._fit(other, cycle, TREE, tallies, snapshot, checkpoints)
    assert checkpoints.newest() is not None
    fresh = KeepCheckpoints(objects=loop.factory.objects, run="fresh")
    expected = service._fit(loop.campaign, cycle, TREE, tallies, snapshot, fresh)
    assert service._fit(loop.campaign, cycle, TREE, tallies, snapshot, checkpoints) == expected


def test_a_galaxy_weighs_as_many_votes_as_it_has(loop, monkeypatch):
    """What a network is fitted to are whole votes of the tally, all of them, of every galaxy that no stream keeps."""
    cycle = loop.run(loop.start(), until=CycleState.TRAINING)
    seen = []

    def only_look(images, counts, tree, config, **_):
        seen.append(counts)
        raise DiedError

    monkeypatch.setattr("alservice.learning.training.fit", only_look)
    with pytest.raises(DiedError):
        loop.factory.learning.training.run(loop.campaign, cycle)
    tallies = loop.factory.votes.source(loop.campaign.settings).tallies(loop.campaign.id, TREE.n_answers)
    members = {
        g.galaxy_id for g in loop.factory.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids) if g.evaluation
    }
    kept = [galaxy_id not in members for galaxy_id in tallies.galaxy_ids]
    (counts,) = seen
    assert members
    assert counts.dtype.kind == "i"
    assert len({*counts.sum(axis=1).tolist()}) > 1, "galaxies with more and fewer votes"
    assert counts.tolist() == tallies.counts[kept].tolist()

"""The shard function: what it keeps is small, and draws made again of it are those that were scored, to the bit."""

import dataclasses
import threading

import numpy as np
import pytest
import torch

from alservice.campaigns.campaign import AcquisitionPolicy
from alservice.catalogue.galaxies import Shard
from alservice.errors import AlserviceError, BadInput, NotFound, ObjectStoreUnavailable
from alservice.network.architectures import NetworkConfig, build_network
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.shard import ShardPredictor
from alservice.prediction.stored import Predictions
from alservice.science.information import joint_information
from alservice.science.prediction import moments
from alservice.storage import arrays
from alservice.testing import MemoryObjects
from tests.prediction.worlds import CAMPAIGN, make_model, make_tasks, predict
from tests.support.shared import ROOT
from tests.support.worlds import TREE, make_campaign

OLD = ROOT / "tests" / "data" / "posterior-of-0.1.parquet"
"""Draws of five galaxies, as the release before stored them."""


@pytest.fixture
def objects():
    """An empty store."""
    return MemoryObjects()


def test_draws_made_again_are_those_that_were_scored(objects):
    """Summaries and scores follow from the draws that are made again, and a part of a shard has the bits of all."""
    shards = predict(objects, make_model(objects), make_tasks(objects, n_shards=2, size=300))
    stored = Predictions(objects=objects)
    for shard, found, drawn in zip(
        shards, stored.predictions(CAMPAIGN, shards), stored.draws(CAMPAIGN, shards), strict=True
    ):
        assert found.galaxy_ids == drawn.galaxy_ids
        mean, sd = moments(TREE, drawn.concentrations)
        np.testing.assert_allclose(found.mean, mean, atol=5e-4)
        np.testing.assert_allclose(found.sd, sd, atol=5e-4)
        scores = joint_information(TREE, drawn.concentrations, 3)
        np.testing.assert_array_equal(found.scores, scores.astype(np.float32))
        assert found.is_scored_for(3, np.ones(TREE.n_questions))
        assert not found.is_scored_for(4, np.ones(TREE.n_questions))
        some = {drawn.galaxy_ids[5], drawn.galaxy_ids[-1], "unknown"}
        (part,) = stored.draws(CAMPAIGN, [shard], some)
        rows = [drawn.galaxy_ids.index(name) for name in part.galaxy_ids]
        assert len(rows) == 2
        np.testing.assert_array_equal(part.concentrations, drawn.concentrations[rows])


def test_another_process_with_more_threads_makes_the_same_draws(objects):
    """Neither threads nor a sampler of another process's change a bit."""
    shards = predict(objects, make_model(objects), make_tasks(objects, n_shards=1, size=20))
    (first,) = Predictions(objects=objects).draws(CAMPAIGN, shards)
    torch.set_num_threads(2)
    try:
        (second,) = Predictions(objects=objects).draws(CAMPAIGN, shards)
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(first.concentrations, second.concentrations)


def test_requested_is_done_and_failed(objects):
    """Galaxies that are not wanted are passed over, and those that a pack lacks are counted."""
    first, *_, last = predict(objects, make_model(objects), make_tasks(objects))
    assert (first.n_galaxies, first.n_failed) == (6, 1)
    assert (last.n_galaxies, last.n_failed) == (7, 0)


def test_two_workers_write_what_one_does(objects):
    """However many devices, and one by one without any overlap: the same shards in the same order."""
    model, tasks = make_model(objects), make_tasks(objects)
    predictor = ShardPredictor.load(objects, model, CAMPAIGN, "cpu")
    assert (
        predict(objects, model, tasks, devices=("cpu", "cpu"))
        == predict(objects, model, tasks)
        == [predictor(task) for task in tasks]
    )


def test_new_heads_predict_without_an_image(objects):
    """A model with the trunk of an earlier one needs its predictions alone, and says what it would of the images."""
    tasks = make_tasks(objects)
    first = predict(objects, make_model(objects), tasks)
    model = make_model(objects, heads=5)
    of_images = predict(objects, model, tasks)
    assert [s.key for s in of_images] != [s.key for s in first]
    for task in tasks:
        objects.delete(task.pack.key)
    known = [dataclasses.replace(task, source=shard.key) for task, shard in zip(tasks, first, strict=True)][1:]
    assert predict(objects, model, known) == of_images[1:]
    with pytest.raises(AlserviceError, match="another trunk"):
        predict(objects, make_model(objects, seed=9), known)
    with pytest.raises(NotFound):  # it lacks a galaxy that is wanted: the image is asked for
        predict(objects, model, [dataclasses.replace(tasks[0], source=first[0].key)])


def test_bytes_per_galaxy_are_few(objects):
    """Whatever the draws, a galaxy of the largest packaged trunk that is trained from scratch takes 600 bytes at most."""
    config = NetworkConfig(name="compact", image_px=16)
    predictor = ShardPredictor(objects, make_model(objects), build_network(config, TREE, seed=0), CAMPAIGN, "cpu")
    embeddings = np.random.default_rng(0).normal(size=(512, 192)).astype(np.float16)
    ids = tuple(f"58772298174136{i:04}" for i in range(512))
    assert len(arrays.encode_prediction(predictor.predict(ids, embeddings))) / 512 <= 600


def test_draws_that_the_release_before_stored_are_read():
    """Of a shard of that release come its draws as they are, and summaries and scores computed from them."""
    objects = MemoryObjects()
    key = objects.put(OLD.read_bytes(), kind="posteriors", suffix=".parquet").key
    shards = [Shard(index=0, key=key, n_galaxies=5, n_failed=0)]
    stored = Predictions(objects=objects)
    (drawn,) = stored.draws(CAMPAIGN, shards, {"old1", "old3"})
    whole = arrays.decode_posterior(OLD.read_bytes())
    assert whole.concentrations.shape == (5, 4, TREE.n_answers)
    np.testing.assert_array_equal(drawn.concentrations, whole.concentrations[[1, 3]])
    (found,) = stored.predictions(CAMPAIGN, shards)
    np.testing.assert_allclose(found.mean, moments(TREE, whole.concentrations)[0], atol=5e-4)
    np.testing.assert_array_equal(found.scores, joint_information(TREE, whole.concentrations, 3).astype(np.float32))
    assert list(stored.draws(CAMPAIGN, shards, {"unknown"})) == []


def test_a_prediction_is_read_as_what_it_is(objects):
    """Other files, and a prediction by a network of another tree, are refused."""
    (shard,) = predict(objects, make_model(objects), make_tasks(objects, n_shards=1))
    with pytest.raises(BadInput, match="holds prediction"):
        arrays.decode_posterior(objects.get(shard.key))
    with pytest.raises(BadInput):
        arrays.decode_prediction(b"PAR1 no such file")
    with pytest.raises(BadInput, match="tree"):
        list(Predictions(objects=objects).draws(make_campaign(tree="gz_decals_dr5"), [shard]))


def test_scores_for_other_votes_are_not_taken_for_those_asked(objects):
    """A policy that asks for other votes is told so."""
    policy = AcquisitionPolicy(votes_per_galaxy=40, question_weights={TREE.questions[1].name: 0.5})
    campaign = make_campaign(acquisition=policy)
    shards = predict(objects, make_model(objects), make_tasks(objects, n_shards=1), campaign=campaign)
    (found,) = Predictions(objects=objects).predictions(campaign, shards)
    assert found.recipe.votes == 40
    assert found.recipe.worth[1] == 0.5


class Flaky(MemoryObjects):
    """A store that fails at random, and can lose its connection for good at the n-th write."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng, self.lock, self.calls = np.random.default_rng(seed), threading.Lock(), 0
        self.share = 0.0

    def _weather(self) -> None:
        with self.lock:
            self.calls += 1
            if self.rng.random() < self.share:
                raise ObjectStoreUnavailable("the store went away")

    def get(self, key: str) -> bytes:
        """Return bytes, unless the store is away."""
        self._weather()
        return super().get(key)

    def put(self, data, *, kind, suffix):
        """Store bytes, before or after the connection goes away."""
        self._weather()
        stored = super().put(data, kind=kind, suffix=suffix)
        self._weather()
        return stored


def test_a_run_that_fails_and_goes_on_ends_where_it_would_have():
    """Whatever call fails: what was recorded stays, the rest is done again, and all digests are those of a calm run."""
    calm, flaky = MemoryObjects(), Flaky(seed=1)
    expected = predict(calm, make_model(calm), make_tasks(calm))
    model, tasks = make_model(flaky), make_tasks(flaky)
    flaky.share = 0.2
    recorded: dict[int, Shard] = {}
    faults = 0
    for _ in range(200):
        try:
            left = [task for task in tasks if task.pack.index not in recorded]
            predictors = [ShardPredictor.load(flaky, model, CAMPAIGN, "cpu") for _ in range(2)]
            for shard in predict_overlapped(left, predictors):
                recorded[shard.index] = shard
            break
        except ObjectStoreUnavailable:
            faults += 1
    assert faults > 0
    assert [recorded[index] for index in sorted(recorded)] == expected
    assert set(flaky.keys("predictions")) == {shard.key for shard in expected}

"""Predictions of files: the images of the next shard are decoded while the network has those of this one."""

from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from alservice.catalogue.galaxies import CatalogueFault
from alservice.errors import BadImage
from alservice.network.architectures import NetworkConfig
from alservice.offline import prediction
from alservice.offline.prediction import PredictRows
from alservice.progress import NoProgress
from alservice.science.posterior import Posterior
from alservice.storage import images as codec
from tests.support.worlds import TREE, make_row

SHARD = 3


@dataclass
class Codec:
    """Decodes images, and notes when those of the second shard are under way."""

    second: Event = field(default_factory=Event)
    n: int = 0

    def decode(self, data: bytes, *, size_px: int, channels: int) -> np.ndarray:
        """Decode one."""
        self.n += 1
        if self.n > SHARD:
            self.second.set()
        if data == b"broken":
            raise BadImage("it is broken")
        return codec.decode(data, size_px=size_px, channels=channels)


class Waiting(PredictRows):
    """Computes the first shard when the second is being decoded, and not before."""

    def _posterior(self, ids, images):
        assert self.codec.second.wait(30), "nothing was decoded meanwhile"
        return Posterior(
            galaxy_ids=ids,
            concentrations=np.ones((len(ids), 2, TREE.n_answers), dtype=np.float32),
            embeddings=np.zeros((len(ids), 1), dtype=np.float16),
            tree_hash=TREE.hash,
            model="none",
        )


class Sink:
    """Shards in memory, one of them finished before."""

    def __init__(self, finished):
        self.shards, self._finished = {}, finished

    def finished(self, index):
        """Return what was there."""
        return self._finished.get(index)

    def save(self, index, table, faults):
        """Keep one."""
        self.shards[index] = table.galaxy_ids, [fault.galaxy_id for fault in faults]


def test_the_next_shard_is_decoded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is done or failed, faults are told in order, and a finished shard is not read again."""
    monkeypatch.setattr(prediction, "SHARD_ROWS", SHARD)
    told: list[CatalogueFault] = []
    rows = [make_row(i, image=b"broken" if i in {1, 7} else None) for i in range(10)]
    network = SimpleNamespace(config=NetworkConfig(name="small", image_px=16), tree=TREE)
    predict = Waiting(
        networks=[network],
        model="none",
        codec=Codec(),
        device="cpu",
        draws=2,
        keep_draws=False,
        progress=NoProgress(),
        on_fault=told.append,
    )
    sink = Sink({2: (2, 1)})
    assert predict.run(rows, sink) == (4, 8, 2)
    assert sink.shards == {0: (("g00", "g02"), ["g01"]), 1: (("g03", "g04", "g05"), []), 3: (("g09",), [])}
    assert [fault.galaxy_id for fault in told] == ["g01"]
    assert predict.codec.n == 7

"""What a backfill is asked to do, with the usual sizes of each question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alservice.backfill.plan import ALL, BackfillPlan, policy_named
from alservice.errors import BadConfig
from alservice.files import sha256_of_file
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.network.device import precision_name, resolve_device
from alservice.offline.model_files import load_model
from alservice.science.tree import load_tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Usual:
    """What suits a question where nothing else is asked for.

    Parameters
    ----------
    initial, batch
        Galaxies before the first round and in each.
    px, field
        Side that images are scaled to (px), and the central share of it that the network sees.
    steps, passes
        Least gradient steps of a training, and least times that it sees each galaxy.
    mean_precision
        Precision of votes at which their means are learned.
    """

    initial: int
    batch: int
    px: int
    field: float
    steps: int
    passes: float
    mean_precision: float


SIZES: Final[Mapping[str, Usual]] = {
    "smooth": Usual(initial=256, batch=128, px=64, field=0.5, steps=1200, passes=40, mean_precision=4.0),
    "bar": Usual(initial=128, batch=64, px=64, field=0.5, steps=1500, passes=125, mean_precision=4.0),
    ALL: Usual(initial=256, batch=128, px=64, field=0.5, steps=600, passes=30, mean_precision=12.0),
}
"""Galaxies of smooth are the paper's; of bar fewer, as few galaxies are asked it.

Steps are such that the curve of random drawing falls: with 400 a thousand labels teach hardly more than 256.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """What a backfill is asked to do.

    Parameters
    ----------
    data
        Catalogue with recorded votes; None for the synthetic sky.
    policies
        Names of `alservice.acquisition.policies`; ``random`` is what the others are compared with.
    seeds
        Runs per policy, seeds 0, 1, ...
    galaxies
        Rows of the file to use, or galaxies of the synthetic sky; None takes all.
    encoder
        A model whose trunk every training keeps, fitting heads only; None trains whole networks.
    unbiased_pool
        Choose from the unbiased part of the catalogue only.
    """

    data: Path | None
    tree: str
    policies: tuple[str, ...]
    seeds: int
    plan: BackfillPlan
    training: FitConfig
    encoder: Path | None = None
    galaxies: int | None = None
    unbiased_pool: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in self.policies:
            policy_named(name)
        if "random" not in self.policies or len(set(self.policies)) != len(self.policies):
            raise BadConfig(f"policies must name 'random', to compare with, and none twice: {', '.join(self.policies)}")
        if self.seeds < 1:
            raise BadConfig(f"a backfill needs at least one seed, not {self.seeds}")

    @property
    def n_rounds(self) -> int:
        """Trainings in all: the first of a seed is shared by its policies."""
        return self.seeds * (1 + len(self.policies) * self.plan.rounds)

    def document(self) -> dict[str, Any]:
        """Return what decides the result; more policies or seeds may be asked of a folder later."""
        return {
            "command": "backfill",
            "data": "synthetic sky" if self.data is None else sha256_of_file(self.data),
            "tree": load_tree(self.tree).hash,
            "galaxies": self.galaxies,
            "unbiased_pool": self.unbiased_pool,
            "encoder": None if self.encoder is None else load_model(self.encoder, device="cpu")[1],
            "plan": self.plan.document(),
            "training": self.training.document(),
        }


def make_backfill(
    *,
    data: Path | None,
    tree: str,
    question: str,
    policies: tuple[str, ...],
    seeds: int,
    rounds: int,
    initial: int | None,
    batch: int | None,
    pool: int | None,
    test: int | None,
    galaxies: int | None,
    unbiased_pool: bool,
    encoder: Path | None,
    network: str,
    px: int | None,
    field: float | None,
    steps: int | None,
    passes: float | None,
    mean_precision: float | None,
    device: str,
) -> Backfill:
    """Return what was asked for by a form or a command, with the question's sizes where none are given.

    Raises
    ------
    BadConfig
        An encoder is given as well as the size of its images, which is its own.
    """
    usual = SIZES.get(question, SIZES[ALL])
    structure = NetworkConfig(name=network, image_px=px or usual.px, field=field or usual.field)
    if encoder is not None:
        if px is not None or field is not None:
            raise BadConfig("an encoder has its own size of images: give no --px and no --field with it")
        structure = load_model(encoder, device="cpu")[0].config
    return Backfill(
        data=data,
        tree=tree,
        policies=policies,
        seeds=seeds,
        plan=BackfillPlan(
            question=question,
            initial=initial or usual.initial,
            batch=batch or usual.batch,
            rounds=rounds,
            pool=pool,
            test=test,
            passes=usual.passes if passes is None else passes,
        ),
        training=FitConfig(
            network=structure,
            steps=steps or usual.steps,
            threads=1,
            looks=4,
            mean_precision=mean_precision or usual.mean_precision,
            precision=precision_name("auto", resolve_device(device)),
        ),
        encoder=encoder,
        galaxies=galaxies,
        unbiased_pool=unbiased_pool,
        device=device,
    )

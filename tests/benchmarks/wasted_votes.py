"""Share of a batch that each policy wastes on artefacts and copies planted among real galaxies.

A small network learns from real galaxies of the Kaggle file and their votes (44 seeded volunteers each). The pool holds
other real galaxies, some of them twice and thrice, and planted images of four kinds: blank sky, saturation, star
streaks, noise. Wasted are artefacts, and each further copy of an image in the batch. No arm but the informative one is
drawn, so that a policy shows what it does by itself. Every figure is a mean over models and draws.

Run: ``python -m tests.benchmarks.wasted_votes``
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from alservice.acquisition.batch import BatchPolicy, Rule, SurveySample, draw_batch, survey_distance
from alservice.acquisition.policies import RULES, SURVEYED, policy_scores
from alservice.campaigns.policies import PolicyName
from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueRow
from alservice.ids import seed_of
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit
from alservice.science.batches import survey_covariance, vote_deviations
from alservice.science.posterior import Posterior
from alservice.science.tree import load_tree
from alservice.science.votes import count_walks, walk
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage import images
from tests.support.shared import shared_data

TREE: Final = load_tree("gz2")
PX: Final = 64
VOTES: Final = 44
KINDS: Final = ("blank", "saturated", "streak", "noise")
SEED: Final = 5
FEW, MANY = 30, 240
FEATURED: Final = "smooth-or-featured_featured-or-disk"
WEIGHTS: Final = np.ones(TREE.n_questions)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images (N, 1, 64, 64) to choose from, and what each is: a galaxy's number, or a kind of artefact."""

    images: UInt8Array
    what: Sequence[str]

    @property
    def ids(self) -> tuple[str, ...]:
        """Return ids that say nothing."""
        return tuple(f"p{i:05}" for i in range(len(self.what)))


@dataclass(frozen=True, kw_only=True)
class Waste:
    """Shares of a batch: artefacts by kind, and copies of what is in it already; and how many were drawn."""

    artefacts: Mapping[str, float]
    copies: float
    drawn: float

    @property
    def total(self) -> float:
        """Share that teaches nothing new about galaxies."""
        return sum(self.artefacts.values()) + self.copies


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a policy draws by: its rule, scores (N,), and of batches chosen together deviations and their target."""

    rule: Rule
    scores: FloatArray
    deviations: FloatArray | None = None
    target: FloatArray | None = None


def artefact(kind: str, rng: np.random.Generator) -> UInt8Array:
    """Return a planted image (1, 64, 64): no two are the same."""
    sky = rng.normal(rng.uniform(2, 12), rng.uniform(0.5, 3), (PX, PX))
    y, x = np.mgrid[:PX, :PX] - (PX - 1) / 2
    if kind == "saturated":
        sky += 400 * np.exp(-np.hypot(x, y) / rng.uniform(8, 25)) * (1 + 3 * (np.abs(x) < rng.uniform(1, 4)))
    elif kind == "streak":
        for _ in range(rng.integers(1, 4)):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-20, 20)
            distance = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset)
            sky += rng.uniform(80, 250) * np.exp(-0.5 * (distance / rng.uniform(0.7, 2)) ** 2)
    elif kind == "noise":
        sky = rng.normal(rng.uniform(60, 160), rng.uniform(30, 90), (PX, PX))
    return sky.clip(0, 255).astype(np.uint8)[None]


def real_galaxies(n: int) -> tuple[UInt8Array, npt.NDArray[np.int64]]:
    """Return images and vote counts of real galaxies, each with all questions that were recorded."""
    source = open_catalogue(shared_data() / "gz2_kaggle.parquet", TREE)
    pixels, counts = [], []
    for row in source.rows(n, SEED):
        assert isinstance(row, CatalogueRow)
        assert row.fractions is not None
        pixels.append(images.decode(row.image, size_px=PX, channels=1))
        rng = np.random.default_rng(seed_of("votes", row.galaxy_id))
        counts.append(count_walks(TREE, walk(TREE, row.fractions, VOTES, rng)))
    return np.stack(pixels), np.stack(counts)


def plant(real: UInt8Array, *, artefacts: float, copied: float) -> Pool:
    """Return a pool of real galaxies in which a share has one or two copies, with a share of artefacts on top."""
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(real), round(copied * len(real)), replace=False)
    copies = np.concatenate([chosen, chosen[::2]])
    kinds = [kind for kind in KINDS for _ in range(round(artefacts * len(real) / len(KINDS)))]
    planted = np.stack([artefact(kind, rng) for kind in kinds])
    what = [*map(str, range(len(real))), *map(str, copies.tolist()), *kinds]
    order = rng.permutation(len(what))
    everything = np.concatenate([real, real[copies], planted])[order]
    return Pool(images=everything, what=[what[i] for i in order])


def predicted(pool: Pool, learnt: UInt8Array, counts: npt.NDArray[np.int64], *, steps: int, seed: int) -> Posterior:
    """Train a network on galaxies outside the pool, and return its posterior of the pool."""
    config = FitConfig(network=NetworkConfig(image_px=PX), steps=steps, threads=1, seed=seed)
    result = fit(learnt, counts, TREE, config, device="cpu", progress=lambda _: None)
    network = build_network(config.network, TREE, seed=seed)
    network.load_state_dict(dict(result.state))
    draws, embeddings = sample_posterior(network, pool.images, draws=MANY, seed=seed, device="cpu", views=2)
    return Posterior(
        galaxy_ids=pool.ids, concentrations=draws, embeddings=embeddings, tree_hash=TREE.hash, model=str(seed)
    )


def scores_of(posterior: Posterior, survey: Posterior) -> dict[str, Scored]:
    """Return every policy's rule and scores from 30 draws, EPIG's from 240 too; `random` scores all alike."""

    def score(policy: PolicyName, draws: int = FEW, rule: Rule | None = None) -> Scored:
        drawn, target = posterior.concentrations[:, :draws], survey.concentrations[:, :draws]
        joint = RULES[policy] == "joint"
        return Scored(
            rule=rule or RULES[policy],
            scores=policy_scores(policy, TREE, drawn, votes=40, weights=WEIGHTS, answer=FEATURED, target=target),
            deviations=vote_deviations(TREE, drawn, 40, WEIGHTS) if joint else None,
            target=survey_covariance(TREE, target, WEIGHTS) if joint and policy in SURVEYED else None,
        )

    return {
        "bald": score("bald"),
        "power_bald": score("power_bald"),
        "softmax_bald": score("softmax_bald"),
        "epig": score("epig", MANY),
        "epig, best scores": score("epig", MANY, "top"),
        "epig, 30 draws": score("epig"),
        "epig, 30 draws, best scores": score("epig", FEW, "top"),
        "batch_bald": score("batch_bald"),
        "batch_epig": score("batch_epig"),
        "entropy": score("entropy"),
        "threshold": score("threshold"),
        "random": Scored(rule="power", scores=np.ones(len(posterior.galaxy_ids))),
    }


def wasted(pool: Pool, posterior: Posterior, scored: Scored, arms: BatchPolicy, draws: int) -> Waste:
    """Return the mean waste of some batches."""
    what_of = dict(zip(pool.ids, pool.what, strict=True))
    vectors = posterior.embeddings if scored.deviations is None else scored.deviations
    found = []
    for seed in range(draws):
        batch = draw_batch(pool.ids, scored.scores, policy=arms, seed=seed, vectors=vectors, target=scored.target)
        names = [what_of[galaxy.galaxy_id] for galaxy in batch.galaxies]
        galaxies = [name for name in names if name not in KINDS]
        found.append([*(names.count(kind) for kind in KINDS), len(galaxies) - len(set(galaxies)), len(names)])
    *artefacts, copies, drawn = np.mean(found, axis=0).tolist()
    size = max(drawn, 1)
    shares = {kind: n / size for kind, n in zip(KINDS, artefacts, strict=True)}
    return Waste(artefacts=shares, copies=copies / size, drawn=drawn)


def experiment(
    *, learn: int, pool: int, steps: int, batch: int, share: float, models: int, draws: int
) -> tuple[dict[tuple[str, bool], list[Waste]], Pool, float]:
    """Return the waste of every policy without and with distance, one entry per model; the pool; seconds of a fit."""
    pixels, counts = real_galaxies(learn + pool)
    mixed = plant(pixels[learn:], artefacts=0.1, copied=0.1)
    found: dict[tuple[str, bool], list[Waste]] = {}
    start = time.perf_counter()
    for seed in range(models):
        posterior = predicted(mixed, pixels[:learn], counts[:learn], steps=steps, seed=seed)
        sample = SurveySample(200, seed=SEED)
        sample.offer(posterior, np.ones(len(mixed.what), dtype=bool))
        survey = sample.draw()
        near = survey_distance(survey.embeddings, share)
        for policy, scored in scores_of(posterior, survey).items():
            for apart in (False,) if scored.rule == "joint" else (False, True):
                arms = BatchPolicy(rule=scored.rule, informative=batch, random=0, min_distance=near if apart else None)
                found.setdefault((policy, apart), []).append(wasted(mixed, posterior, scored, arms, draws))
    return found, mixed, (time.perf_counter() - start) / models


def table(found: Mapping[tuple[str, bool], Sequence[Waste]]) -> str:
    """Return the table in per cent of the batch."""
    head = ["policy", "apart", *KINDS, "copies", "wasted", "lowest..highest model", "drawn"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (policy, apart), wastes in found.items():
        kinds = [f"{100 * np.mean([w.artefacts[kind] for w in wastes]):.1f}" for kind in KINDS]
        totals = [100 * w.total for w in wastes]
        copies = f"{100 * np.mean([w.copies for w in wastes]):.1f}"
        spread = f"{min(totals):.1f}..{max(totals):.1f}"
        drawn = f"{np.mean([w.drawn for w in wastes]):.0f}"
        cells = [policy, "yes" if apart else "no", *kinds, copies, f"{np.mean(totals):.1f}", spread, drawn]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measured shares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learn", type=int, default=1000, help="Galaxies to train on.")
    parser.add_argument("--pool", type=int, default=4000, help="Other galaxies to choose from.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.001, help="Share of the survey near a drawn galaxy.")
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--draws", type=int, default=10)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"load before: {os.getloadavg()[0]:.1f}")
    found, pool, seconds = experiment(**vars(args))
    planted = sum(what in KINDS for what in pool.what)
    copies = len(pool.what) - planted - len({what for what in pool.what if what not in KINDS})
    print(
        f"pool: {len(pool.what)} images, {planted} artefacts, {copies} copies; {seconds:.0f} s a model, draws included"
    )
    print(table(found))
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

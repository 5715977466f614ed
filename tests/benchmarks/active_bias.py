"""The mean loss of a pool from what an active policy selected: naive, LURE, inclusion probabilities, against truth.

The pool is the 4,000 real galaxies of the unbiased block; the score is the expected information of 40 votes. Two
losses of the same model: the NLL of the recorded votes (nats per galaxy), and the squared error of the fraction of
Smooth. Each seed draws a batch by the power rule.

Run: ``python -m tests.benchmarks.active_bias --predictions FILE.npz``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alservice.acquisition.batch import BatchPolicy, draw_batch
from alservice.science.evaluation import assess
from alservice.science.information import joint_information
from alservice.science.reweighting import inclusion_ratio, lure, step_probabilities
from tests.benchmarks.real_predictions import SMOOTH, TREE, Population, population


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What one estimator says over the seeds, relative to the truth."""

    estimator: str
    mean: float
    bias: float
    rms_error: float
    covered: float | None


LOSSES = ("NLL", "squared error of Smooth")


def measure(people: Population, loss: str, *, batch: int, seeds: int, beta: float) -> tuple[float, list[Bias]]:
    """Return the pool's mean loss and how far each estimator is from it."""
    scores = joint_information(TREE, people.second.concentrations, 40)
    judged = assess(TREE, people.second, people.counts)
    losses = judged.nll.sum(axis=1) if loss == "NLL" else judged.squared_error[:, SMOOTH]
    truth = float(losses.mean())
    index = {galaxy_id: i for i, galaxy_id in enumerate(people.galaxy_ids)}
    policy = BatchPolicy(rule="power", beta=beta, informative=batch, random=0)
    log_weights = policy.log_weights(scores)
    found: dict[str, list[float]] = {"naive mean": [], "LURE": [], "inclusion probabilities": []}
    covered: dict[str, list[bool]] = {"LURE": [], "inclusion probabilities": []}
    for seed in range(seeds):
        drawn = draw_batch(people.galaxy_ids, scores, policy=policy, seed=seed).galaxies
        order = np.array([index[galaxy.galaxy_id] for galaxy in drawn])
        chances = np.array([galaxy.inclusion_probability for galaxy in drawn])
        found["naive mean"].append(float(losses[order].mean()))
        for name, estimate in (
            ("LURE", lure(losses[order], step_probabilities(log_weights, order), len(losses))),
            ("inclusion probabilities", inclusion_ratio(losses[order], np.ones(len(order)), chances)),
        ):
            found[name].append(estimate.value)
            covered[name].append(estimate.low <= truth <= estimate.high)
    return truth, [
        Bias(
            estimator=name,
            mean=float(np.mean(values)),
            bias=float(np.mean(values) / truth - 1),
            rms_error=float(np.sqrt(np.mean((np.array(values) / truth - 1) ** 2))),
            covered=float(np.mean(covered[name])) if name in covered else None,
        )
        for name, values in found.items()
    ]


def main(arguments: Sequence[str] | None = None) -> dict[tuple[str, float], list[Bias]]:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, help="as made by tests.benchmarks.real_predictions")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--beta", type=float, nargs="+", default=(1.0, 3.0))
    options = parser.parse_args(arguments)
    people = population(options.predictions)
    found = {}
    print("| loss | beta | full pool | estimator | mean | bias | RMS error | 95 % interval holds the truth |")
    print("|---|---|---|---|---|---|---|---|")
    for loss in LOSSES:
        for beta in options.beta:
            truth, biases = measure(people, loss, batch=options.batch, seeds=options.seeds, beta=beta)
            for b in biases:
                held = "-" if b.covered is None else f"{b.covered:.1%}"
                cells = f"{truth:.4f} | {b.estimator} | {b.mean:.4f} | {b.bias:+.2%} | {b.rms_error:.2%} | {held}"
                print(f"| {loss} | {beta:g} | {cells} |")
            found[loss, beta] = biases
    return found


if __name__ == "__main__":
    main()

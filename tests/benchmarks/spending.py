"""How to spend votes: few on many galaxies or many on few; and rare answers, which random drawing hardly finds.

``python -m tests.benchmarks.spending votes --cache DIR`` trains heads at equal total votes, 5, 10, 20 or 40 a galaxy, on
galaxies drawn at random. ``python -m tests.benchmarks.spending rare --cache DIR`` lets policies look for rings, mergers and
lenses among all galaxies and judges by average precision on galaxies held out. Embeddings and head as in
`tests.benchmarks.policies`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from alservice.ids import seed_of, stable_fraction
from alservice.network.config import use_threads
from alservice.science.bootstrap import Estimate, percentile_estimate
from alservice.science.laplace import LaplaceHead
from alservice.science.posterior import answer_probabilities
from alservice.shapes import BoolArray, FloatArray, IntArray
from tests.benchmarks.policies import (
    BATCH,
    QUESTIONS,
    START,
    TREE,
    VOTES,
    Choice,
    Learner,
    Task,
    choose,
    judge,
    path_of,
    read_galaxies,
    save,
)

EACH: Final = (5, 10, 20, 40)
BUDGETS: Final = (1280, 5120)
"""Votes in all; of the last, forty a galaxy are 128 galaxies and five 1,024."""

RARE: Final = {"ring": "odd-feature_ring", "merger": "odd-feature_merger", "lens": "odd-feature_lens-or-arc"}
HAS: Final = 0.2
"""Share of all volunteers from which a galaxy has a rare answer."""

RARE_ROUNDS: Final = 10


def equal_cost(task: Task, seed: int) -> FloatArray:
    """Return the square errors (2, 4, N) by budget and by votes per galaxy, on galaxies drawn at random."""
    order = np.random.default_rng(seed_of(seed, "order", task.question)).permutation(task.pool)
    errors = np.empty((len(BUDGETS), len(EACH), len(task.test)))
    for column, each in enumerate(EACH):
        rng = np.random.default_rng(seed_of(seed, "votes", task.question, each))
        votes = task.votes(order, each, rng)
        for row, budget in enumerate(BUDGETS):
            n = budget // each
            if n > len(order):
                errors[row, column] = np.nan
                continue
            head = Learner(task, seed).fit(order[:n], votes[:n], 0)
            errors[row, column] = judge(task, head, seed)
    return errors


@dataclass(frozen=True, kw_only=True, eq=False)
class RareTask(Task):
    """The odd features, looked for among all galaxies; held out are evaluation members and a third of the others."""

    question: str = "odd-feature"
    pool_name: str = "all"
    walk: bool = True

    @cached_property
    def place(self) -> int:
        """Index of the question in the whole tree."""
        return TREE.index("odd-feature")

    @cached_property
    def weights(self) -> FloatArray:
        """Science weights: whether something is odd, and what."""
        return np.array([float(TREE.questions[q].name in {"something-odd", "odd-feature"}) for q in self.whole])

    @cached_property
    def _held(self) -> BoolArray:
        third = np.array([stable_fraction("rare", galaxy_id) < 1 / 3 for galaxy_id in self.galaxies.ids])
        return self.galaxies.member | third

    @cached_property
    def pool(self) -> IntArray:
        """Rows that may be chosen."""
        return np.flatnonzero(~self._held)

    @cached_property
    def test(self) -> IntArray:
        """Rows that judge."""
        return np.flatnonzero(self._held)

    def has(self, answer: str) -> BoolArray:
        """Return which test galaxies have a rare answer."""
        asked = np.nan_to_num(self.galaxies.asked[self.test, self.place])
        share = np.nan_to_num(self.galaxies.shares[self.test, TREE.column(answer)])
        found: BoolArray = asked * share >= HAS
        return found


def average_precision(scores: FloatArray, positive: BoolArray) -> float:
    """Return the mean, over positives by falling score, of the share of positives so far."""
    hits = positive[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def run_rare(task: RareTask, choice: Choice, seed: int) -> FloatArray:
    """Return the average precision (R, 3) of each round and rare answer."""
    cast = np.zeros((len(task.galaxies.ids), task.tree.n_answers), dtype=np.int64)
    cast[task.pool] = task.votes(task.pool, VOTES, np.random.default_rng(seed_of(seed, "volunteers", "rare")))
    labelled = np.random.default_rng(seed_of(seed, "start", "rare")).choice(task.pool, size=4 * START, replace=False)
    learner, rows = Learner(task, seed), []
    for number in range(RARE_ROUNDS + 1):
        head = learner.fit(labelled, cast[labelled], number)
        rows.append(precisions(task, head, seed))
        if number < RARE_ROUNDS:
            labelled = np.concatenate([labelled, choose(task, head, labelled, choice, seed, number)])
    return np.array(rows)


def precisions(task: RareTask, head: LaplaceHead, seed: int) -> list[float]:
    """Return the average precision of each rare answer on the test galaxies."""
    draws = head.concentrations(task.galaxies.features[task.test], draws=20, seed=seed_of(seed, "judge"))
    shares = answer_probabilities(task.tree, draws)
    asked = task.tree.asked_probability(shares)[..., task.tree.index("odd-feature")]
    return [
        average_precision((asked * shares[..., task.tree.column(answer)]).mean(axis=1), task.has(answer))
        for answer in RARE.values()
    ]


def resampled(values: FloatArray, *, repeats: int = 2000) -> Estimate:
    """Return the mean of values by seed (S,) with its 95 % interval over seeds."""
    rng = np.random.default_rng(0)
    samples = values[rng.integers(len(values), size=(repeats, len(values)))].mean(axis=1)
    return percentile_estimate(float(values.mean()), samples, 0.95)


def main(argv: list[str] | None = None) -> None:
    """Run what has no file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["votes", "rare"])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", nargs="+", default=["random", "batch_epig:draws=40", "power_bald", "entropy"])
    asked = parser.parse_args(argv)
    use_threads(1)
    galaxies = read_galaxies(asked.cache)
    if asked.command == "votes":
        tasks = [Task(galaxies=galaxies, question=q, pool_name="unbiased", walk=True) for q in QUESTIONS]
        print(votes_table(asked.cache, tasks, asked.seeds))
    else:
        print(rare_table(asked.cache, RareTask(galaxies=galaxies), asked.policies, asked.seeds))


def votes_table(cache: Path, tasks: list[Task], seeds: int) -> str:
    """Return the RMSE of few votes on many galaxies, as a ratio to that of forty on few, by budget."""
    head = "| question | votes in all | " + " | ".join(f"{each} a galaxy" for each in EACH) + " |"
    lines = [head, "|---" * (len(EACH) + 2) + "|"]
    ratios = []
    for task in tasks:
        runs = []
        for seed in range(seeds):
            path = path_of(cache, task, "equal-cost", seed)
            if not path.exists():
                save(path, equal_cost(task, seed))
            runs.append(np.load(path))
        rmse = np.sqrt(np.stack(runs).astype(np.float64).mean(axis=-1))
        ratios.append(rmse / rmse[..., -1:])
        lines += [_row(task.question, budget, rmse[:, b], ratios[-1][:, b]) for b, budget in enumerate(BUDGETS)]
    together = np.nanmean(np.stack(ratios), axis=0)
    lines += [_row("mean", budget, None, together[:, b]) for b, budget in enumerate(BUDGETS)]
    return "\n".join(lines)


def _row(question: str, budget: int, rmse: FloatArray | None, ratio: FloatArray) -> str:
    cells = []
    for column in range(len(EACH)):
        if np.isnan(ratio[:, column]).any():
            cells.append("-")
            continue
        found = resampled(ratio[:, column])
        error = "" if rmse is None else f"{rmse[:, column].mean():.4f}, "
        cells.append(f"{error}x {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
    return f"| {question} | {budget:,} | " + " | ".join(cells) + " |"


def rare_table(cache: Path, task: RareTask, policies: list[str], seeds: int) -> str:
    """Return average precision at the end, and the labels a policy needs for random's."""
    curves = {}
    for policy in policies:
        for seed in range(seeds):
            path = path_of(cache, task, policy, seed)
            if not path.exists():
                save(path, run_rare(task, Choice.of(policy), seed))
        paths = [path_of(cache, task, policy, seed) for seed in range(seeds)]
        curves[policy] = np.stack([np.load(path) for path in paths]).astype(np.float64)
    labels = 4 * START + BATCH * np.arange(RARE_ROUNDS + 1)
    positives = {name: int(task.has(answer).sum()) for name, answer in RARE.items()}
    title = f"{len(task.test):,} galaxies held out: " + ", ".join(f"{n} {name}" for name, n in positives.items())
    lines = [title, "", "| policy | " + " | ".join(RARE) + " |", "|---" * (len(RARE) + 1) + "|"]
    for policy, found in curves.items():
        cells = []
        for column in range(len(RARE)):
            end, wanted = resampled(found[:, -1, column]), curves["random"][:, -1, column].mean()
            reached = np.flatnonzero(found[..., column].mean(axis=0) >= wanted)
            needed = f"{labels[reached[0]]}" if len(reached) else f"more than {labels[-1]}"
            cells.append(f"{end.value:.3f} [{end.low:.3f}, {end.high:.3f}], {needed}")
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

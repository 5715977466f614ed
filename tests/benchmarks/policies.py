"""Which policy needs fewest labels: the loop's own choice of galaxies, a Bayesian head in closed form, frozen embeddings.

``python -m tests.benchmarks.embeddings --cache DIR`` first; then
``python -m tests.benchmarks.policies run --cache DIR --seeds 0 30`` and ``... policies table --cache DIR``. Runs lie in
``DIR/runs``, one file per question, pool, policy and seed: a killed command goes on where it was.

A run begins with 32 galaxies at random and adds 32 twelve times. Of every galaxy chosen, forty volunteers are simulated
from its recorded fractions. The head is `alservice.science.laplace` on 64 principal components of EfficientNet-Lite0's
embeddings; scores are `alservice.acquisition.policies`, the draw `alservice.acquisition.batch`.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from alservice.acquisition.batch import BatchPolicy, draw_batch, survey_distance
from alservice.acquisition.policies import RULES, SURVEYED, policy_scores
from alservice.backfill.savings import Curves, Saving, savings
from alservice.campaigns.policies import PolicyName
from alservice.catalogue.vote_columns import KAGGLE_COLUMNS
from alservice.ids import seed_of
from alservice.network.config import use_threads
from alservice.progress import process_progress
from alservice.science.batches import survey_covariance, vote_deviations
from alservice.science.laplace import Features, LaplaceHead, Prior, choose_prior, fit_head
from alservice.science.tree import Tree, load_tree
from alservice.shapes import BoolArray, FloatArray, IntArray
from tests.benchmarks.embeddings import cached
from tests.support.shared import shared_data

TREE: Final = load_tree("gz2")
QUESTIONS: Final = {
    "smooth": "smooth-or-featured",
    "edge-on": "disk-edge-on",
    "odd": "something-odd",
    "bar": "bar",
    "spiral": "has-spiral-arms",
    "roundness": "how-rounded",
}
VOTES, WALKERS, LEAST = 40, 44, 10
"""Volunteers per galaxy; those behind a recorded fraction; votes on a question from which its fraction is judged."""

START, BATCH, ROUNDS = 32, 32, 12
OFFERED: Final = 1000
"""Galaxies of the pool that are scored in a round, a fresh draw each time; the others wait."""

COMPONENTS, DRAWS, SURVEY = 64, 20, 100
HALVES: Final = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
"""Test galaxies: a policy is chosen on one half and its figure stated on the other."""

CHOICE_EVERY: Final = 4
"""Rounds between choices of the prior."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A policy of the loop with its numbers, as written: ``power_bald:beta=4:random=0.25``.

    Parameters
    ----------
    beta
        Sharpness of the draw.
    random
        Share of each batch that is drawn uniformly.
    start
        Rounds that are drawn uniformly before the policy chooses.
    diversity
        Share of the survey that a drawn galaxy keeps out, as `diversity_share`.
    draws
        T.
    """

    policy: PolicyName
    beta: float = 1.0
    random: float = 0.0
    start: int = 0
    diversity: float = 0.0
    draws: int = DRAWS

    @classmethod
    def of(cls, text: str) -> Choice:
        """Return the choice that was written."""
        name, *numbers = text.split(":")
        found = cls(policy=name)  # type: ignore[arg-type]
        for number in numbers:
            key, value = number.split("=")
            found = replace(found, **{key: type(getattr(found, key))(value)})
        return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Galaxies:
    """Real galaxies with an embedding: N of them.

    Parameters
    ----------
    shares
        (N, A) fraction of each answer among those asked, NaN where nobody was.
    asked
        (N, Q) share of the volunteers that were asked, NaN where not recorded.
    """

    ids: tuple[str, ...]
    features: FloatArray
    shares: FloatArray
    asked: FloatArray
    block: BoolArray
    member: BoolArray


def read_galaxies(cache: Path, *, components: int = COMPONENTS) -> Galaxies:
    """Return the galaxies of a cache; members of the evaluation stream are the 1,500 smallest hashes of the block."""
    rows, vectors = cached(cache)
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["galaxy_id", "random_block", *KAGGLE_COLUMNS])
    cumulative = np.stack([table[name].to_numpy() for name in KAGGLE_COLUMNS], axis=1).astype(np.float64)[rows]
    ids = tuple(map(str, table["galaxy_id"].to_numpy()[rows].tolist()))
    block = table["random_block"].to_numpy(zero_copy_only=False)[rows]
    everyone = table["galaxy_id"].to_numpy()[table["random_block"].to_numpy(zero_copy_only=False)]
    stream = set(sorted(map(str, everyone.tolist()), key=_hash)[:1500])
    member = np.array([galaxy_id in stream for galaxy_id in ids])
    shares, asked = conditional(cumulative)
    features = Features.of(vectors[block & ~member], most=components)(vectors)
    return Galaxies(ids=ids, features=features, shares=shares, asked=asked, block=block, member=member)


def _hash(galaxy_id: str) -> float:
    from alservice.ids import stable_fraction
    from alservice.offline.commands import EVALUATION_SEED

    return stable_fraction(EVALUATION_SEED, galaxy_id)


def conditional(cumulative: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return shares among the asked (N, A) and shares asked (N, Q) of fractions as the Kaggle file has them (N, A)."""
    shares, asked = np.full(cumulative.shape, np.nan), np.full((len(cumulative), TREE.n_questions), np.nan)
    for place, (answers, parents) in enumerate(zip(TREE.slices, TREE.parents_of, strict=True)):
        total = cumulative[:, answers].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares[:, answers] = np.where(total[:, None] > 0, cumulative[:, answers] / total[:, None], np.nan)
        # Not the sum of the own answers: the file norms "odd" to 1 for everyone (see the data's README).
        reached = np.ones(len(cumulative))
        if parents:
            owners = TREE.question_of_answer[list(parents)]
            reached = sum(asked[:, q] * shares[:, a] for q, a in zip(owners, parents, strict=True))
            reached = np.where(total > 0, reached, np.where(np.isnan(total), np.nan, 0.0))
        asked[:, place] = reached
    return shares, asked


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One question to learn: its tree, who may be chosen, and who judges.

    Parameters
    ----------
    walk
        Whether volunteers begin at the root, so that galaxies of which nobody is asked cost as much as others and teach
        nothing; if not, the question stands alone and only galaxies with ten recorded votes on it are in the pool.
    """

    galaxies: Galaxies
    question: str
    pool_name: str
    walk: bool

    @cached_property
    def place(self) -> int:
        """Index of the question in the whole tree."""
        return TREE.index(QUESTIONS[self.question])

    @cached_property
    def whole(self) -> tuple[int, ...]:
        """Questions of the whole tree that the task's tree has, parents first."""
        if not self.walk:
            return (self.place,)
        needed = {self.place}
        for place in range(self.place, -1, -1):
            if place in needed:
                needed |= {int(TREE.question_of_answer[column]) for column in TREE.parents_of[place]}
        return tuple(sorted(needed))

    @cached_property
    def tree(self) -> Tree:
        """The tree that is learned."""
        questions = [TREE.questions[place] for place in self.whole]
        if not self.walk:
            questions = [replace(questions[0], parents=())]
        return Tree(name=f"gz2-{self.question}", questions=tuple(questions))

    @cached_property
    def columns(self) -> IntArray:
        """Its answers as columns of the whole tree."""
        return np.concatenate([np.arange(TREE.n_answers)[TREE.slices[place]] for place in self.whole])

    @cached_property
    def weights(self) -> FloatArray:
        """Science weights: of the question alone."""
        return np.array([float(place == self.place) for place in self.whole])

    @cached_property
    def enough(self) -> BoolArray:
        """Whether a galaxy has the recorded votes to be judged by (N,)."""
        return np.nan_to_num(self.galaxies.asked[:, self.place]) * WALKERS >= LEAST

    @cached_property
    def pool(self) -> IntArray:
        """Rows that may be chosen."""
        free = ~self.galaxies.member & np.isfinite(self.galaxies.asked[:, self.place])
        if self.pool_name == "unbiased":
            free &= self.galaxies.block
        return np.flatnonzero(free if self.walk else free & self.enough)

    @cached_property
    def test(self) -> IntArray:
        """Rows that judge: members of the evaluation stream."""
        return np.flatnonzero(self.galaxies.member & self.enough)

    @cached_property
    def truth(self) -> FloatArray:
        """Recorded fractions of the test galaxies (n, answers)."""
        return self.galaxies.shares[self.test][:, TREE.slices[self.place]]

    @cached_property
    def own(self) -> slice:
        """Answers of the question in the tree that is learned."""
        return self.tree.slices[self.whole.index(self.place)]

    def votes(self, rows: IntArray, number: int, rng: np.random.Generator) -> IntArray:
        """Return votes (n, A) of so many volunteers on each galaxy."""
        galaxies = self.galaxies
        counts = np.zeros((len(rows), self.tree.n_answers), dtype=np.int64)
        for place, own in zip(self.whole, self.tree.slices, strict=True):
            parents = self.tree.parents_of[self.tree.slices.index(own)]
            if self.walk and parents:
                n = counts[:, list(parents)].sum(axis=1)
            else:
                n = rng.binomial(number, np.clip(galaxies.asked[rows, place], 0, 1))
            shares = galaxies.shares[rows][:, TREE.slices[place]]
            known = np.isfinite(shares).all(axis=1)
            shares = np.where(known[:, None], shares, 1 / shares.shape[1])
            counts[:, own] = rng.multinomial(np.where(known, n, 0), shares / shares.sum(axis=1, keepdims=True))
        return counts


class Learner:
    """A head that is fitted anew each round; its priors are chosen every third, on a fixed quarter of the galaxies."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed = task, seed
        self._priors: list[Prior] = []
        self._head: LaplaceHead | None = None

    def fit(self, rows: IntArray, votes: IntArray, number: int) -> LaplaceHead:
        """Return the head of galaxies and their votes."""
        tree, features = self._task.tree, self._task.galaxies.features[rows]
        if not self._priors or number % CHOICE_EVERY == 0:
            held = np.arange(len(rows)) % 4 == 0
            seed = seed_of(self._seed, "prior", number)
            self._priors = [
                choose_prior(features, votes[:, answers], held, seed=seed, prior_precisions=(0.3, 1.0, 3.0, 10.0))
                for answers in tree.slices
            ]
        self._head = fit_head(tree, features, votes, self._priors, before=self._head)
        return self._head


def run_policy(task: Task, choice: Choice, seed: int, *, votes_each: int = VOTES, rounds: int = ROUNDS) -> FloatArray:
    """Return the square errors (R, N) of every round and test galaxy."""
    rng = np.random.default_rng(seed_of(seed, "volunteers", task.question))
    first = np.random.default_rng(seed_of(seed, "start", task.question, task.pool_name))
    # A galaxy's votes are the same whoever chooses it and whenever.
    cast = np.zeros((len(task.galaxies.ids), task.tree.n_answers), dtype=np.int64)
    cast[task.pool] = task.votes(task.pool, votes_each, rng)
    labelled = first.choice(task.pool, size=START, replace=False)
    learner, terms = Learner(task, seed), []
    for number in range(rounds + 1):
        head = learner.fit(labelled, cast[labelled], number)
        terms.append(judge(task, head, seed))
        if number < rounds:
            labelled = np.concatenate([labelled, choose(task, head, labelled, choice, seed, number)])
    return np.stack(terms)


def choose(task: Task, head: LaplaceHead, labelled: IntArray, choice: Choice, seed: int, number: int) -> IntArray:
    """Return the rows of the next batch, drawn by the loop's own code."""
    galaxies = task.galaxies
    left = np.setdiff1d(task.pool, labelled)
    offered = np.random.default_rng(seed_of(seed, "offered", number)).permutation(left)[:OFFERED]
    left = np.sort(offered)
    uniform = choice.policy == "random" or number < choice.start
    random = BATCH if uniform else round(choice.random * BATCH)
    scores = None
    distance = vectors = target = None
    if not uniform:
        draws = head.concentrations(galaxies.features[left], draws=choice.draws, seed=seed_of(seed, "draws", number))
        survey = np.random.default_rng(seed_of(seed, "survey")).permutation(len(left))[:SURVEY]
        scores = policy_scores(
            choice.policy,
            task.tree,
            draws,
            votes=VOTES,
            weights=task.weights,
            answer=task.tree.columns[task.own.start],
            target=draws[survey] if choice.policy in SURVEYED else None,
        )
        if choice.diversity:
            distance = survey_distance(galaxies.features[left[survey]], choice.diversity)
            vectors = galaxies.features[left]
        if RULES[choice.policy] == "joint":
            vectors = vote_deviations(task.tree, draws, VOTES, task.weights)
            target = survey_covariance(task.tree, draws[survey], task.weights) if choice.policy in SURVEYED else None
    policy = BatchPolicy(
        rule=RULES[choice.policy], beta=choice.beta, informative=BATCH - random, random=random, min_distance=distance
    )
    batch = draw_batch(
        [galaxies.ids[row] for row in left],
        scores,
        policy=policy,
        seed=seed_of(seed, "batch", number),
        vectors=vectors,
        target=target,
    )
    row_of = {galaxies.ids[row]: row for row in left.tolist()}
    return np.array([row_of[galaxy.galaxy_id] for galaxy in batch.galaxies])


def judge(task: Task, head: LaplaceHead, seed: int) -> FloatArray:
    """Return the mean square error (N,) of the predicted fractions of each test galaxy."""
    draws = head.concentrations(task.galaxies.features[task.test], draws=DRAWS, seed=seed_of(seed, "judge"))
    own = draws[..., task.own]
    mean = (own / own.sum(axis=-1, keepdims=True)).mean(axis=1)
    squares: FloatArray = ((mean - task.truth) ** 2).mean(axis=1)
    return squares


def main(argv: list[str] | None = None) -> None:
    """Run what is asked for and has not run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--pool", default="unbiased", choices=["unbiased", "all"])
    parser.add_argument("--alone", action="store_true", help="each question as a tree of its own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 30], help="how many, or first and beyond the last")
    parser.add_argument("--policies", nargs="+", default=["random", "bald", "power_bald"])
    parser.add_argument("--galaxies", default="all", choices=list(HALVES), help="which test galaxies the table counts")
    asked = parser.parse_args(argv)
    seeds = range(*asked.seeds) if len(asked.seeds) == 2 else range(asked.seeds[0])
    use_threads(1)
    galaxies = read_galaxies(asked.cache)
    tasks = [Task(galaxies=galaxies, question=q, pool_name=asked.pool, walk=not asked.alone) for q in asked.questions]
    if asked.command == "run":
        run_all(asked.cache, tasks, asked.policies, seeds)
    else:
        print(table(asked.cache, tasks, asked.policies, seeds, HALVES[asked.galaxies]))


def run_all(cache: Path, tasks: list[Task], policies: list[str], seeds: range) -> None:
    """Run every policy, question and seed that has no file."""
    progress = process_progress()
    progress.start("policies", len(tasks) * len(policies) * len(seeds))
    for seed in seeds:
        for task in tasks:
            for text in policies:
                path = path_of(cache, task, text, seed)
                if not path.exists():
                    save(path, run_policy(task, Choice.of(text), seed))
                progress.advance(1)
    progress.finish()


def path_of(cache: Path, task: Task, policy: str, seed: int) -> Path:
    """Return the file of one run."""
    kind = "walk" if task.walk else "alone"
    return cache / "runs" / f"{task.question}-{task.pool_name}-{kind}-{policy}-{seed}.npy"


def save(path: Path, terms: FloatArray) -> None:
    """Write an array whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    with whole.open("wb") as file:
        np.save(file, terms.astype(np.float32))
    whole.replace(path)


def curves(cache: Path, task: Task, policy: str, seeds: range, galaxies: slice = slice(None)) -> Curves:
    """Return the learning curves of a policy on a question: RMSE of the fractions, over some of the test galaxies."""
    errors = np.stack([np.load(path_of(cache, task, policy, seed)) for seed in seeds]).astype(np.float64)
    errors = errors[..., galaxies]
    return Curves(
        policy=policy,
        labels=START + BATCH * np.arange(errors.shape[1]),
        numerator=errors,
        denominator=np.ones_like(errors),
        is_root=True,
    )


def saving(cache: Path, task: Task, policy: str, seeds: range, galaxies: slice = slice(None)) -> Saving:
    """Return what a policy saves against random drawing on a question."""
    random, own = (curves(cache, task, name, seeds, galaxies) for name in ("random", policy))
    return savings(random, own, metric="RMSE", rng=np.random.default_rng(0), repeats=400)


def table(cache: Path, tasks: list[Task], policies: list[str], seeds: range, galaxies: slice = slice(None)) -> str:
    """Return labels saved at equal error by policy and question."""
    lines = ["| policy | " + " | ".join(task.question for task in tasks) + " | mean |", "|---" * (len(tasks) + 2) + "|"]
    for policy in policies:
        if policy == "random":
            continue
        found = [saving(cache, task, policy, seeds, galaxies) for task in tasks]
        cells = [
            f"{100 * s.new_labels.value:+.0f} [{100 * s.new_labels.low:+.0f}, {100 * s.new_labels.high:+.0f}]"
            for s in found
        ]
        mean = np.mean([s.new_labels.value for s in found])
        lines.append(f"| {policy} | " + " | ".join(cells) + f" | {100 * mean:+.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Replaying the loop over a catalogue with recorded votes: what is asked, and what each round left.

A backfill draws the same initial galaxies for every policy of a seed, trains, and then lets each policy choose batch
after batch; volunteers answer from the record. Questions are replayed singly, as in Walmsley et al. (2020, section 4),
or all at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from alservice.acquisition.policies import RULES
from alservice.backfill.options import BackfillOptions
from alservice.campaigns.policies import PolicyName
from alservice.campaigns.trees import load_tree
from alservice.catalogue.files import AS_TOLD, ReadAs, said_of
from alservice.catalogue.tables import digest_of_table
from alservice.documents import document_of
from alservice.errors import BadConfig
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig, precision_name, resolve_device
from alservice.offline.training import load_model
from alservice.science.stretch import asked_stretch, stretch_of
from alservice.science.tree import Tree
from alservice.science.votes import totals
from alservice.shapes import BoolArray, FloatArray, IntArray

ALL: Final = "all"
"""Instead of a question: the whole tree at once."""

SHORT_NAMES: Final[Mapping[str, str]] = {"smooth": "smooth-or-featured", "bar": "bar"}
"""Questions as the paper calls them."""

FEATURED: Final = ("smooth-or-featured_featured-or-disk", "smooth-or-featured_featured")
"""Answers that deployed systems look for, in the trees' spellings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillPlan:
    """What every run of a backfill shares.

    Parameters
    ----------
    question
        Name in the tree, ``smooth``, ``bar``, or ``all``.
    initial, batch
        Galaxies drawn at random before the first round, and chosen in each round.
    rounds
        Rounds after the first model.
    pool
        Galaxies to choose from, a seeded subset; None takes all.
    test
        Galaxies that only judge, a seeded subset of those that may; None takes all.
    min_votes
        Fewest votes on a question for its vote fraction to be judged; replayed singly, fewer make a galaxy ineligible.
    draws
        Posterior draws per galaxy.
    passes
        Least times that training sees each labelled galaxy: steps that suit the first round are too few for the last.
    gated
        Whether the gate decides which model chooses the next batch, as in the live loop; else the newest always does.
    """

    question: str
    initial: int
    batch: int
    rounds: int
    pool: int | None = None
    test: int | None = None
    min_votes: int = 10
    draws: int = 20
    passes: float = 0.0
    gated: bool = True

    def __post_init__(self) -> None:
        if min(self.initial, self.batch, self.min_votes) < 1 or min(self.rounds, self.passes) < 0 or self.draws < 2:
            raise BadConfig(f"a backfill needs galaxies, rounds, passes and at least 2 draws: {self}")
        if self.pool is not None and self.pool < self.needed:
            raise BadConfig(f"a pool of {self.pool} galaxies is less than the {self.needed} that are asked for")

    @property
    def needed(self) -> int:
        """Galaxies labelled in the end."""
        return self.initial + self.rounds * self.batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is learned and what it is judged by.

    Parameters
    ----------
    tree
        The whole tree, or one question as a tree of its own.
    columns
        Its answers as columns of the whole tree, (A,).
    answer
        Column in `tree` whose vote fraction's RMSE is the curve; None: the NLL per vote is.
    sought
        Answer in `tree` that a threshold looks for.
    """

    tree: Tree
    columns: IntArray
    answer: int | None
    sought: str

    @property
    def metric(self) -> str:
        """Name of the figure that is compared."""
        return "NLL per vote" if self.answer is None else f"RMSE {self.tree.columns[self.answer]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One galaxy that a round chose, and its score (as its policy scores; None for a random choice)."""

    galaxy_id: str
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Round:
    """What one training of one run left.

    Parameters
    ----------
    policy, seed, number
        Whose it is; round 0 is the same for all policies of a seed.
    labels, votes
        Galaxies trained on, and their votes on the questions that are learned.
    chosen
        The galaxies that this round added.
    champion_round
        The round whose model chooses next.
    verdict
        The gate's; ``promote`` for a first model.
    nll_per_vote, rmse, coverage_error
        On the test galaxies: nats, vote fraction of the answer that is judged, at a tolerance of 0.10.
    terms
        (N, 4) float32 per test galaxy: NLL summed over questions (nats), votes, squared error of the fraction, and
        whether that fraction is judged.
    seconds
        Wall time: prediction of the pool, training, evaluation.
    """

    policy: str
    seed: int
    number: int
    labels: int
    votes: int
    chosen: tuple[Choice, ...]
    champion_round: int
    verdict: str
    nll_per_vote: float
    rmse: float | None
    coverage_error: float | None
    terms: FloatArray
    seconds: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """Return all but the terms as a JSON document."""
        names = (f.name for f in dataclasses.fields(self) if f.name not in ("terms", "chosen"))
        document = {name: getattr(self, name) for name in names}
        return {**document, "seconds": dict(self.seconds), "chosen": [[c.galaxy_id, c.score] for c in self.chosen]}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], terms: FloatArray) -> Round:
        """Return the record that `document` and its terms were made from."""
        chosen = tuple(Choice(galaxy_id=name, score=score) for name, score in document["chosen"])
        return cls(**{**document, "chosen": chosen}, terms=terms)


def target_of(tree: Tree, question: str) -> Target:
    """Return what a backfill of a question learns.

    Raises
    ------
    NotFound
        The tree has no such question.
    """
    if question == ALL:
        sought = next((name for name in FEATURED if name in tree.columns), tree.columns[0])
        return Target(tree=tree, columns=np.arange(tree.n_answers), answer=None, sought=sought)
    index = tree.index(SHORT_NAMES.get(question, question))
    asked = tree.questions[index]
    alone = Tree(name=f"{tree.name}-{asked.name}", questions=(dataclasses.replace(asked, parents=()),))
    columns = np.arange(tree.n_answers)[tree.slices[index]]
    judged = next((a for a, column in enumerate(alone.columns) if column.endswith("_yes")), 0)
    sought = next((name for name in FEATURED if name in alone.columns), alone.columns[judged])
    return Target(tree=alone, columns=columns, answer=judged, sought=sought)


def eligible(target: Target, counts: IntArray, *, min_votes: int) -> BoolArray:
    """Return which galaxies (N,) have votes enough: on a single question `min_votes`, on a tree any."""
    least = 1 if target.answer is None else min_votes
    enough: BoolArray = totals(target.tree, counts)[:, 0] >= least
    return enough


def expected_votes(target: Target, counts: IntArray) -> float:
    """Return the mean votes on the first question: what a galaxy that is chosen is expected to bring."""
    return float(totals(target.tree, counts)[:, 0].mean())


def policy_named(name: str) -> PolicyName:
    """Return a policy by its name; `BadConfig` lists those there are."""
    for known in RULES:
        if name == known:
            return known
    raise BadConfig(f"policy {name!r} is none of {', '.join(RULES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionSizes:
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


SIZES: Final[Mapping[str, QuestionSizes]] = {
    "smooth": QuestionSizes(initial=256, batch=128, px=64, field=0.5, steps=1200, passes=40, mean_precision=4.0),
    "bar": QuestionSizes(initial=128, batch=64, px=64, field=0.5, steps=1500, passes=125, mean_precision=4.0),
    ALL: QuestionSizes(initial=256, batch=128, px=64, field=0.5, steps=600, passes=30, mean_precision=12.0),
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
    stretch
        How fluxes of FITS images become grey levels; see `alservice.science.stretch.stretch_of`.
    images, read_as
        Folder of the catalogue's images, and what its columns do not say.
    """

    data: Path | None
    tree: Tree
    policies: tuple[str, ...]
    seeds: int
    plan: BackfillPlan
    training: FitConfig
    encoder: Path | None = None
    galaxies: int | None = None
    unbiased_pool: bool = False
    device: str = "auto"
    stretch: str = "plain"
    images: Path | None = None
    read_as: ReadAs = AS_TOLD

    def __post_init__(self) -> None:
        stretch_of(self.stretch)
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
        return (
            {
                "command": "backfill",
                "data": "synthetic sky" if self.data is None else digest_of_table(self.data),
                "tree": self.tree.hash,
                "galaxies": self.galaxies,
                "unbiased_pool": self.unbiased_pool,
                "encoder": None if self.encoder is None else load_model(self.encoder, device="cpu")[1],
                "plan": document_of(self.plan),
                "training": document_of(self.training),
            }
            | asked_stretch(stretch_of(self.stretch))
            | said_of(self.images, self.read_as)
        )


def backfill_of(options: BackfillOptions) -> Backfill:
    """Return what the options ask for, with the question's sizes where none are given.

    Raises
    ------
    BadConfig
        An encoder is given as well as the size of its images, which is its own.
    BadTree, BadInput
        As `alservice.load_tree`.
    """
    sizes = SIZES.get(options.question, SIZES[ALL])
    structure = NetworkConfig(name=options.network, image_px=options.px or sizes.px, field=options.field or sizes.field)
    if options.encoder is not None:
        if options.px is not None or options.field is not None:
            raise BadConfig("an encoder has its own size of images: give no --px and no --field with it")
        structure = load_model(options.encoder, device="cpu")[0].config
    return Backfill(
        data=options.data,
        tree=load_tree(options.tree),
        images=options.images,
        read_as=ReadAs.of(options.column, options.votes_are),
        policies=options.policies,
        seeds=options.seeds,
        plan=BackfillPlan(
            question=options.question,
            initial=options.initial or sizes.initial,
            batch=options.batch or sizes.batch,
            rounds=options.rounds,
            pool=options.pool,
            test=options.test,
            passes=sizes.passes if options.passes is None else options.passes,
        ),
        training=FitConfig(
            network=structure,
            steps=options.steps or sizes.steps,
            threads=1,
            looks=4,
            mean_precision=options.mean_precision or sizes.mean_precision,
            precision=precision_name("auto", resolve_device(options.device)),
        ),
        encoder=options.encoder,
        galaxies=options.galaxies,
        unbiased_pool=options.unbiased_pool,
        device=options.device,
        stretch=options.stretch,
    )

"""What is known of one galaxy: by votes alone, by the model alone, by both, and whether volunteers are still asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from alservice.acquisition.stopping import AnswerPosterior, Asking
from alservice.registry.records import Model
from alservice.science.posterior import Posterior, Summaries, summaries
from alservice.science.stopping import classifications
from alservice.science.tree import Tree
from alservice.science.votes import conditional_fractions
from alservice.shapes import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerKnown:
    """One answer's fraction among those asked its question.

    Parameters
    ----------
    votes, share
        Votes for it and their share; None where nobody was asked.
    model, low, high
        Mean and 90 % interval by the model alone; None without a posterior.
    fused
        By model and votes together; None where they are not fused.
    """

    answer: str
    votes: int
    share: float | None
    model: float | None
    low: float | None
    high: float | None
    fused: AnswerPosterior | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionKnown:
    """One question that somebody was asked or is likely to be asked.

    Parameters
    ----------
    votes
        Votes on it.
    counts
        Whether asking goes by it.
    """

    question: str
    votes: int
    counts: bool
    answers: tuple[AnswerKnown, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GalaxyCard:
    """One galaxy of a catalogue.

    Parameters
    ----------
    votes
        Classifications that were counted.
    asking
        Whether volunteers are still asked, and why; None where asking never stops early, or never began.
    model
        The model that is fused with the votes, or the newest that predicted the galaxy's catalogue; None without one.
    """

    galaxy_id: str
    catalogue_id: int
    votes: int
    asking: Asking | None
    model: Model | None
    questions: tuple[QuestionKnown, ...]


LIKELY = 0.1
"""Expected share of volunteers from which on a question that nobody was asked is shown."""


def galaxy_card(
    tree: Tree,
    counts: IntArray,
    posterior: Posterior | None,
    *,
    galaxy_id: str,
    catalogue_id: int,
    asking: Asking | None,
    model: Model | None,
) -> GalaxyCard:
    """Put together what is known of one galaxy: its votes (A,), and a posterior of it alone where there is one."""
    (votes,) = classifications(tree, np.maximum(counts, 0)[None])
    return GalaxyCard(
        galaxy_id=galaxy_id,
        catalogue_id=catalogue_id,
        votes=votes,
        asking=asking,
        model=model,
        questions=tuple(_questions(tree, counts, posterior, asking)),
    )


def _questions(
    tree: Tree, counts: IntArray, posterior: Posterior | None, asking: Asking | None
) -> Iterator[QuestionKnown]:
    shares = conditional_fractions(tree, counts[None])[0]
    alone = None if posterior is None else summaries(tree, posterior)
    asked = np.zeros(tree.n_questions)
    if posterior is not None:
        asked = tree.asked_probability(posterior.probabilities(tree).mean(axis=1))[0]
    fused = {} if asking is None else {q.question: q for q in asking.questions}
    for index, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        together = fused.get(question.name)
        votes = int(counts[part].sum())
        if not (votes or asked[index] >= LIKELY or (together and together.asked >= LIKELY)):
            continue
        by_column = {a.answer: a for a in together.answers} if together else {}
        yield QuestionKnown(
            question=question.name,
            votes=votes,
            counts=together is not None and together.counts,
            answers=tuple(
                _answer(name, column, tree.columns[column], counts, float(shares[column]), alone, by_column)
                for column, name in enumerate(question.answers, start=part.start)
            ),
        )


def _answer(
    name: str,
    column: int,
    key: str,
    counts: IntArray,
    share: float,
    alone: Summaries | None,
    fused: Mapping[str, AnswerPosterior],
) -> AnswerKnown:
    three = None if alone is None else [float(each[0, column]) for each in (alone.mean, alone.low, alone.high)]
    model, low, high = three or (None, None, None)
    return AnswerKnown(
        answer=name,
        votes=int(counts[column]),
        share=None if np.isnan(share) else share,
        model=model,
        low=low,
        high=high,
        fused=fused.get(key),
    )

"""What one model got right on the evaluation stream, as numbers that can be stored and shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alservice.errors import NotFound
from alservice.science.bootstrap import Estimate
from alservice.science.slices import Slice


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionMetrics:
    """One question, its answers pooled; None where no galaxy has enough votes.

    Parameters
    ----------
    question
        Name in the tree.
    n_galaxies, n_votes
        Galaxies that were asked it at all, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats per vote).
    n_judged
        Galaxies with enough votes for a vote fraction; the rest of the record is about them.
    rmse
        Root mean square error of the vote fractions, each galaxy and answer counting once.
    coverage_error
        One per tolerance, from summed expected and actual counts; None where the actual count is 0.
    """

    question: str
    n_galaxies: int
    n_votes: int
    nll_per_vote: float | None
    n_judged: int
    rmse: float | None
    coverage_error: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerMetrics:
    """One answer column; None where no galaxy has enough votes on its question.

    Parameters
    ----------
    column
        Answer column of the tree.
    n_judged
        Galaxies with enough votes for a vote fraction.
    rmse
        Root mean square error of the vote fraction among those asked; every galaxy counts once.
    crps_votes
        Mean continuous ranked probability score (votes).
    coverage_error
        One per tolerance: (expected - actual) / actual count (Walmsley et al. 2020, eq. 13); None where the
        actual count is 0.
    """

    column: str
    n_judged: int
    rmse: float | None
    crps_votes: float | None
    coverage_error: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """The summary of one model on one set of galaxies.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies with at least one vote, and votes.
    nll_per_vote
        Summed NLL (nats, multinomial coefficient included) over summed votes, with its bootstrap interval.
    tolerances
        Vote-fraction errors of the coverage errors below.
    questions, answers
        In tree order.
    slices
        Parts of the galaxies by measured properties; empty where none were measured.
    """

    n_galaxies: int
    n_votes: int
    nll_per_vote: Estimate
    tolerances: tuple[float, ...]
    questions: tuple[QuestionMetrics, ...]
    answers: tuple[AnswerMetrics, ...]
    slices: tuple[Slice, ...] = ()

    def answer(self, column: str) -> AnswerMetrics:
        """Return the metrics of one answer column; `NotFound` names an unknown one."""
        for answer in self.answers:
            if answer.column == column:
                return answer
        raise NotFound(f"no metrics of answer column {column!r}", column=column)

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Metrics:
        """Return the record that `document` was made from, also after JSON turned tuples into lists."""
        return cls(
            n_galaxies=document["n_galaxies"],
            n_votes=document["n_votes"],
            nll_per_vote=Estimate(**document["nll_per_vote"]),
            tolerances=tuple(document["tolerances"]),
            questions=tuple(
                QuestionMetrics(**{**item, "coverage_error": tuple(item["coverage_error"])})
                for item in document["questions"]
            ),
            answers=tuple(
                AnswerMetrics(**{**item, "coverage_error": tuple(item["coverage_error"])})
                for item in document["answers"]
            ),
            slices=tuple(
                Slice(**{**item, "nll_per_vote": Estimate(**item["nll_per_vote"])})
                for item in document.get("slices", ())
            ),
        )

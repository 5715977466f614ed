"""Votes: read classifications and reductions, count them into tallies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.votes.classification import Classification, Verdict
    from alservice.votes.counting import FeedComparison, GalaxyTally
    from alservice.votes.ingest import IngestReport
    from alservice.votes.service import VoteService
    from alservice.votes.store import ClassificationStore
    from alservice.votes.weights import VolunteerWeights
else:
    __getattr__ = lazily(
        __name__,
        {
            "Classification": "alservice.votes.classification",
            "ClassificationStore": "alservice.votes.store",
            "FeedComparison": "alservice.votes.counting",
            "GalaxyTally": "alservice.votes.counting",
            "IngestReport": "alservice.votes.ingest",
            "Verdict": "alservice.votes.classification",
            "VolunteerWeights": "alservice.votes.weights",
            "VoteService": "alservice.votes.service",
        },
    )

__all__ = [
    "Classification",
    "ClassificationStore",
    "FeedComparison",
    "GalaxyTally",
    "IngestReport",
    "Verdict",
    "VolunteerWeights",
    "VoteService",
]

"""From classifications to tallies: whole galaxies at once, or only what is new where that gives the same.

Verdicts follow from the set of a galaxy's rows in order of id. A row with a higher id than all before it changes
no earlier verdict, and counts unless the same person or the same sending counted before; a tally remembers who
and which by short hashes. A hash met again proves nothing, so then the galaxy's rows are all read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.policies import CountingPolicy
from alservice.constants import TALLY_REDUCER
from alservice.documents import document_of
from alservice.ids import digest_of_document
from alservice.science.tree import Tree
from alservice.science.votes import TallySet, inconsistent, totals
from alservice.shapes import IntArray
from alservice.votes.classification import Classification, Verdict, judge, own_verdict, tally
from alservice.zooniverse.records import RawClassification


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedDifference:
    """One question of one galaxy on which the feeds differ: votes per answer, in tree order."""

    galaxy_id: str
    question: str
    classifications: tuple[int, ...]
    reductions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedComparison:
    """What both feeds say of a campaign.

    Parameters
    ----------
    counts_from
        The feed that the campaign's tallies come from.
    galaxies
        Galaxies with votes in either feed.
    totals
        Question to votes, of classifications and of reductions.
    unread
        Reductions that could not be counted, by reason.
    """

    counts_from: str
    galaxies: int
    differences: tuple[FeedDifference, ...]
    totals: Mapping[str, tuple[int, int]]
    unread: Mapping[str, int]

    @property
    def is_equal(self) -> bool:
        """Whether the feeds agree on everything, and all of both could be read."""
        return not self.differences and not self.unread

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return {**document_of(self), "is_equal": self.is_equal}


def compare_feeds(
    tree: Tree, classifications: TallySet, reductions: TallySet, *, counts_from: str, unread: Mapping[str, int]
) -> FeedComparison:
    """Return the questions on which two sets of tallies differ, by galaxy and in tree order."""
    ids = sorted({*classifications.galaxy_ids, *reductions.galaxy_ids})
    ours, theirs = _aligned(classifications, ids), _aligned(reductions, ids)
    differs = np.logical_or.reduceat(ours != theirs, [part.start for part in tree.slices], axis=1)
    sums = totals(tree, ours.sum(axis=0)).tolist(), totals(tree, theirs.sum(axis=0)).tolist()
    return FeedComparison(
        counts_from=counts_from,
        galaxies=len(ids),
        differences=tuple(
            FeedDifference(
                galaxy_id=ids[row],
                question=tree.questions[index].name,
                classifications=tuple(ours[row, tree.slices[index]].tolist()),
                reductions=tuple(theirs[row, tree.slices[index]].tolist()),
            )
            for row, index in np.argwhere(differs).tolist()
        ),
        totals={question.name: (a, b) for question, a, b in zip(tree.questions, *sums, strict=True)},
        unread=dict(unread),
    )


def _aligned(tallies: TallySet, ids: list[str]) -> IntArray:
    """Return votes (N, A) for these galaxies, zeros where there are none."""
    place = {galaxy: row for row, galaxy in enumerate(ids)}
    votes = np.zeros((len(ids), tallies.counts.shape[1]), dtype=np.int64)
    votes[[place[galaxy] for galaxy in tallies.galaxy_ids]] = tallies.counts
    return votes


_KEY_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class GalaxyTally:
    """Votes of one galaxy, and what later rows are judged by.

    Parameters
    ----------
    votes
        (A,) int64 counted votes per answer.
    classifications
        Counted classifications.
    last_id
        Highest classification id among the galaxy's rows, counted or not.
    seen
        8 bytes for each person and each sending that counted; None when they are not known.
    """

    votes: IntArray
    classifications: int
    last_id: int
    seen: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """The rules of one campaign.

    Parameters
    ----------
    first_columns
        Columns of the question that everyone is asked.
    tree
        A answers, and which of them lead to which question.
    """

    workflow_ids: frozenset[int]
    first_columns: frozenset[int]
    tree: Tree
    policy: CountingPolicy

    def of_galaxy(self, rows: Sequence[Classification]) -> tuple[dict[int, Verdict], GalaxyTally]:
        """Judge all rows of one galaxy and count them: the definition of a tally."""
        verdicts = judge(rows, workflow_ids=self.workflow_ids, first_columns=self.first_columns, policy=self.policy)
        counted = [row for row in rows if verdicts[row.raw.classification_id] is Verdict.COUNTED]
        return verdicts, GalaxyTally(
            votes=tally(rows, verdicts, self.tree.n_answers),
            classifications=len(counted),
            last_id=max((row.raw.classification_id for row in rows), default=0),
            seen=b"".join(key for row in counted for key in _keys(row.raw)),
        )

    def added(
        self, rows: Sequence[Classification], before: GalaxyTally | None
    ) -> tuple[dict[int, Verdict], GalaxyTally] | None:
        """Judge rows that come after all others of their galaxy; None when the others must be read for it.

        Parameters
        ----------
        rows
            Distinct rows of one galaxy.
        before
            Its tally; None for a galaxy without rows.
        """
        seen = b"" if before is None else before.seen
        last_id = 0 if before is None else before.last_id
        ordered = sorted(rows, key=_id_of)
        if seen is None or ordered[0].raw.classification_id <= last_id:
            return None
        columns: list[int] = []
        verdicts: dict[int, Verdict] = {}
        counted = 0 if before is None else before.classifications
        for row in ordered:
            verdict = self.alone(row)
            if verdict is None:
                for key in _keys(row.raw):
                    if key in seen:
                        return None
                    seen += key
                verdict = Verdict.COUNTED
                counted += 1
                columns += row.answers
            verdicts[row.raw.classification_id] = verdict
        votes = np.bincount(np.array(columns, dtype=np.int64), minlength=self.tree.n_answers)
        if before is not None:
            votes[: before.votes.size] += before.votes
        last_id = ordered[-1].raw.classification_id
        return verdicts, GalaxyTally(votes=votes, classifications=counted, last_id=last_id, seen=seen)

    def alone(self, row: Classification) -> Verdict | None:
        """Return why a row does not count whatever the others are; None when it may."""
        return own_verdict(row, workflow_ids=self.workflow_ids, first_columns=self.first_columns, policy=self.policy)

    def impossible(self, tallies: Mapping[str, GalaxyTally]) -> dict[str, tuple[int, ...]]:
        """Return the questions, by place in the tree, whose votes no walks through it give; galaxies with any."""
        if not tallies:
            return {}
        faults = inconsistent(self.tree, np.stack([tally.votes for tally in tallies.values()]))
        return {
            galaxy_id: tuple(np.flatnonzero(row).tolist())
            for galaxy_id, row in zip(tallies, faults, strict=True)
            if row.any()
        }


def reducer_version(campaign: Campaign, tree: Tree) -> str:
    """Return the version of everything that turns what came in into tallies: code, and a digest of the rules."""
    document = document_of(campaign)
    rules = {name: document[name] for name in ("counting", "decoding")}
    feed = {name: document["ingest"][name] for name in ("tallies_from", "reducers", "reductions_since")}
    digest = digest_of_document([rules, feed, tree.hash, sorted(campaign.zooniverse.workflow_ids)])
    return f"{TALLY_REDUCER}:{digest[:12]}"


def judge_of(campaign: Campaign, tree: Tree) -> Judge:
    """Return the rules of a campaign."""
    return Judge(
        workflow_ids=campaign.zooniverse.workflow_ids,
        first_columns=frozenset(range(tree.n_answers)[tree.slices[0]]),
        tree=tree,
        policy=campaign.counting,
    )


def _id_of(row: Classification) -> int:
    return row.raw.classification_id


def _keys(raw: RawClassification) -> list[bytes]:
    keys = []
    if raw.user_hash is not None:
        keys.append(_key(f"user {raw.user_hash}"))
    if raw.session is not None and raw.started_at is not None:
        keys.append(_key(f"sent {raw.session}\0{raw.started_at}"))
    return keys


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()

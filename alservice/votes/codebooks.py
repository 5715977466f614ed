"""All known versions of a campaign's workflow, and rows decoded by the one that the volunteer saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from alservice.campaigns.campaign import Campaign
from alservice.science.tree import Tree
from alservice.votes.classification import Classification, RawClassification, Reading, decode
from alservice.votes.decoding import read_version, version_key
from alservice.zooniverse.workflow import AnswerMap, Workflow

CACHE_READINGS: Final = 50_000
"""Readings kept: volunteers walk a tree in a few thousand ways, and sources share equal annotations."""


class Codebook:
    """Decodes rows of one campaign; equal annotations of one version are read once.

    Parameters
    ----------
    versions
        Known workflow versions; those of other workflows are left aside.
    """

    def __init__(self, campaign: Campaign, tree: Tree, versions: Iterable[Workflow]) -> None:
        self._maps: Mapping[tuple[int, str], AnswerMap] = {
            (workflow.workflow_id, workflow.version): read_version(tree, workflow, campaign.decoding)
            for workflow in versions
            if workflow.workflow_id in campaign.zooniverse.workflow_ids
        }
        self._readings: dict[tuple[int, str, int], tuple[Any, Reading]] = {}

    def maps(self, *, since: str | None = None) -> tuple[AnswerMap, ...]:
        """Return the meanings of the known versions from one on, in order of version."""
        first = (0, 0) if since is None else version_key(since) or (0, 0)
        keyed = sorted((version_key(version) or (0, 0), workflow, version) for workflow, version in self._maps)
        return tuple(self._maps[workflow, version] for key, workflow, version in keyed if key >= first)

    def decode(self, raw: RawClassification, galaxy_id: str | None) -> Classification:
        """Return the row with its answers as columns of the tree, or with the reason why not."""
        key = raw.workflow_id, raw.workflow_version, id(raw.annotations)
        annotations, reading = self._readings.get(key, (None, None))
        if reading is None or annotations is not raw.annotations:  # an id may be another object's by now
            decoded = decode(raw, galaxy_id, self._maps.get((raw.workflow_id, raw.workflow_version)))
            if len(self._readings) >= CACHE_READINGS:
                self._readings.clear()
            reading = Reading(answers=decoded.answers, abstentions=decoded.abstentions, fault=decoded.fault)
            self._readings[key] = raw.annotations, reading
            return decoded
        return Classification(
            raw=raw,
            galaxy_id=galaxy_id,
            answers=reading.answers,
            abstentions=reading.abstentions,
            fault=reading.fault,
        )

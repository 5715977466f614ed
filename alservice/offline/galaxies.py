"""Read images, votes and evaluation membership of a catalogue file into arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, is_evaluation_member
from alservice.catalogue.vote_columns import VOLUNTEERS
from alservice.errors import BadImage, BadVotes
from alservice.progress import Progress
from alservice.science.tree import Tree
from alservice.science.votes import TallySet, walked_counts
from alservice.shapes import BoolArray, FloatArray, IntArray, UInt8Array
from alservice.storage import ImageCodec

WALK_SEED = 0
"""Seed of the volunteers who walk the tree for recorded fractions: fixed, so that all runs see the same votes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VotedGalaxies:
    """Galaxies with images and votes, in order of id.

    Parameters
    ----------
    images
        uint8 (N, C, H, W); N rows without pixels where only votes were read.
    counts
        int64 (N, A) votes; of volunteers who walk the tree where the file has fractions only.
    fractions
        float64 (N, A) recorded share among those asked, NaN where not recorded or where votes were counted.
    cumulative
        float64 (N, A) fractions of all volunteers as the Kaggle file records them, NaN where it does not;
        None for other files.
    unbiased
        (N,) whether a galaxy belongs to the part of the file that samples the survey without selection.
    evaluation
        (N,) whether a galaxy belongs to the evaluation stream.
    """

    galaxy_ids: tuple[str, ...]
    images: UInt8Array
    counts: IntArray
    fractions: FloatArray
    cumulative: FloatArray | None
    unbiased: BoolArray
    evaluation: BoolArray

    @property
    def tallies(self) -> TallySet:
        """Their votes."""
        return TallySet(galaxy_ids=self.galaxy_ids, counts=self.counts)

    def only(self, rows: BoolArray | IntArray) -> VotedGalaxies:
        """Return some galaxies: those marked, or at these places."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return VotedGalaxies(
            galaxy_ids=tuple(self.galaxy_ids[place] for place in places),
            images=self.images[places],
            counts=self.counts[places],
            fractions=self.fractions[places],
            cumulative=None if self.cumulative is None else self.cumulative[places],
            unbiased=self.unbiased[places],
            evaluation=self.evaluation[places],
        )


def ignore_fault(_fault: CatalogueFault, /) -> None:
    """Do nothing: faults are listed when all rows are read."""


@dataclass(frozen=True, kw_only=True)
class ReadGalaxies:
    """Reader of a file's galaxies into memory; a row that fails becomes a fault, none is dropped.

    Parameters
    ----------
    size_px, channels
        What images are decoded to; None reads no images.
    evaluation_fraction, evaluation_seed
        Who belongs to the evaluation stream; see `is_evaluation_member`.
    on_fault
        Told of every row that fails; may raise to end the reading.
    """

    tree: Tree
    codec: ImageCodec
    progress: Progress
    size_px: int | None
    channels: Literal[1, 3] = 1
    evaluation_fraction: float = 0.0
    evaluation_seed: int = 0
    on_fault: Callable[[CatalogueFault], None] = ignore_fault

    def run(
        self, rows: Iterable[CatalogueRow | CatalogueFault], *, total: int | None = None
    ) -> tuple[VotedGalaxies, tuple[CatalogueFault, ...]]:
        """Return the galaxies and the faults.

        Raises
        ------
        BadVotes
            Not one row has both votes and an image.
        """
        kept: list[tuple[CatalogueRow, UInt8Array]] = []
        faults: list[CatalogueFault] = []
        self.progress.start("read galaxies", total)
        for row in rows:
            outcome = row if isinstance(row, CatalogueFault) else self._read(row)
            if isinstance(outcome, CatalogueFault):
                self.on_fault(outcome)
                faults.append(outcome)
            else:
                kept.append(outcome)
            self.progress.advance()
        self.progress.finish()
        if not kept:
            first = f": row {faults[0].row}: {faults[0].field}: {faults[0].reason}" if faults else ""
            raise BadVotes(f"no row has both an image and votes{first}", failed=len(faults))
        return self._together(sorted(kept, key=lambda pair: pair[0].galaxy_id)), tuple(faults)

    def _read(self, row: CatalogueRow) -> tuple[CatalogueRow, UInt8Array] | CatalogueFault:
        if row.fractions is None:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="votes", reason="none recorded")
        pixels = np.empty((self.channels, 0, 0), dtype=np.uint8)
        if self.size_px is not None:
            try:
                pixels = self.codec.decode(row.image, size_px=self.size_px, channels=self.channels)
            except BadImage as error:
                return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message)
        return row, pixels

    def _together(self, kept: list[tuple[CatalogueRow, UInt8Array]]) -> VotedGalaxies:
        rows = [row for row, _ in kept]
        ids = tuple(row.galaxy_id for row in rows)
        cumulative = [row.cumulative for row in rows if row.cumulative is not None]
        shares = np.stack([row.fractions for row in rows if row.fractions is not None])
        walkers = np.array([0 if row.counts is not None else row.n_votes or VOLUNTEERS for row in rows])
        counts = walked_counts(self.tree, shares, ids, volunteers=walkers, seed=WALK_SEED)
        for place, row in enumerate(rows):
            if row.counts is not None:
                counts[place], shares[place] = row.counts, np.nan
        return VotedGalaxies(
            galaxy_ids=ids,
            images=np.stack([pixels for _, pixels in kept]),
            counts=counts,
            fractions=shares,
            cumulative=np.stack(cumulative) if len(cumulative) == len(rows) else None,
            unbiased=np.array([row.unbiased for row in rows]),
            evaluation=np.array([self._is_member(row) for row in rows]),
        )

    def _is_member(self, row: CatalogueRow) -> bool:
        return is_evaluation_member(
            row.galaxy_id, unbiased=row.unbiased, seed=self.evaluation_seed, fraction=self.evaluation_fraction
        )

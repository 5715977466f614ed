"""Galaxies and the immutable sets they come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from alservice.checks import is_storable, storable
from alservice.ids import MAX_ID_CHARS, digest_of_lines, stable_fraction
from alservice.shapes import BoolArray, FloatArray, IntArray

EVALUATION_MEMBERS = 1500
"""Members of the evaluation stream in a whole file of real galaxies."""

MAX_REASON_CHARS = 500
"""Of a fault: a sentence that names what is wrong, not all of what was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Galaxy:
    """An object with a survey id, a position and an image.

    Parameters
    ----------
    row
        0-based place in the catalogue, which is in order of galaxy id, or of place on the sky; what a later version
        adds comes after all that was there, in order among itself.
    ra_deg, dec_deg
        Position (deg, ICRS); None where the survey does not say.
    image_key
        Object key of the original image bytes, content-addressed.
    unbiased
        Whether it belongs to the part of the catalogue that samples the survey without selection.
    evaluation
        Whether it is a member of the evaluation stream: never trained on, never acquired for information.
    """

    galaxy_id: str
    row: int
    ra_deg: float | None
    dec_deg: float | None
    image_key: str
    unbiased: bool
    evaluation: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Roll:
    """Galaxies in catalogue order by id, and the streams they are in: what drawing reads of a whole survey.

    Parameters
    ----------
    galaxy_ids
        n ids.
    unbiased, members
        (n,) `Galaxy.unbiased` and `Galaxy.evaluation`.
    """

    galaxy_ids: Sequence[str]
    unbiased: BoolArray
    members: BoolArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CatalogueRow:
    """One galaxy as its source gives it.

    Parameters
    ----------
    row
        Its place in the source, the first being 1.
    ra_deg, dec_deg
        Position (deg, ICRS), None where the source has none.
    image
        Bytes of a type and size that volunteers can be shown, not decoded yet.
    made_from
        Kind of the file that they were made from, such as FITS; None where they are the original's own.
    unbiased
        Whether it belongs to the part that samples the survey without selection.
    fractions
        float64 (A,) share of each answer among those asked, NaN where not recorded; None without any votes.
    n_votes
        Volunteers asked the first question, None where the source does not say.
    consistent
        Whether volunteers' walks through the tree can give these votes; the published ones of a few galaxies in a
        hundred cannot, since people went back. They are used, and counted.
    counts
        int64 (A,) votes, 0 where nobody was asked; None where the source does not count them.
    cumulative
        float64 (A,) fractions of all volunteers, NaN where not recorded; None where the source does not give them.
    """

    row: int
    galaxy_id: str
    ra_deg: float | None
    dec_deg: float | None
    image: bytes
    unbiased: bool
    fractions: FloatArray | None
    n_votes: int | None
    consistent: bool = True
    counts: IntArray | None = None
    cumulative: FloatArray | None = None
    made_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueFault:
    """A row of the source that could not become a galaxy.

    It can always be recorded: of an id that is none because it is too long or holds what a database does not, the
    reason shows the beginning.
    """

    row: int
    galaxy_id: str | None
    field: str
    reason: str

    def __post_init__(self) -> None:
        """Keep no id that could not be stored, and no text without end."""
        if self.galaxy_id is not None and not (len(self.galaxy_id) <= MAX_ID_CHARS and is_storable(self.galaxy_id)):
            object.__setattr__(self, "galaxy_id", None)
        object.__setattr__(self, "field", storable(self.field, max_chars=MAX_ID_CHARS))
        object.__setattr__(self, "reason", storable(self.reason, max_chars=MAX_REASON_CHARS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """A versioned, immutable set of galaxies.

    Parameters
    ----------
    digest
        Digest of ids, positions, image digests and memberships.
    votes_key
        Object key of recorded vote fractions, which simulated volunteers replay; None in a live campaign.
    n_galaxies, n_failed
        Rows that became galaxies and rows that could not; their sum is what was requested.
    """

    id: int
    campaign_id: int
    source: str
    digest: str
    n_galaxies: int
    n_failed: int
    votes_key: str | None

    @property
    def n_requested(self) -> int:
        """Rows asked for: every one is a galaxy or a recorded fault."""
        return self.n_galaxies + self.n_failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """A file's way into a campaign's catalogue.

    Parameters
    ----------
    rows_done
        Rows of the source that are done, from the first on.
    catalogue_id
        The catalogue afterwards, a new version if it added or replaced a galaxy; None while it runs, or where there
        is none.
    n_added, n_replaced
        Galaxies that are new, and those that have other content than before.
    n_known
        Rows whose galaxy was there with the same content.
    n_failed
        Rows in quarantine, each with its reason.
    stretch
        How fluxes of its images became grey levels, as `alservice.science.stretch.stretch_of` reads it; None where no
        file was read, or by an earlier release.
    """

    id: int
    source: str
    rows_done: int
    catalogue_id: int | None
    n_added: int
    n_replaced: int
    n_known: int
    n_failed: int
    stretch: str | None

    @property
    def n_requested(self) -> int:
        """Rows of the source: every one is accounted for."""
        return self.n_added + self.n_replaced + self.n_known + self.n_failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A packed run of galaxies: the unit of prediction.

    Parameters
    ----------
    index
        0-based place in the catalogue.
    key
        Object key of the packed arrays.
    n_galaxies, n_failed
        Galaxies in the pack, and those whose image could not be packed.
    """

    index: int
    key: str
    n_galaxies: int
    n_failed: int


def is_evaluation_member(galaxy_id: str, *, unbiased: bool, seed: int, fraction: float) -> bool:
    """Return whether a galaxy belongs to the evaluation stream.

    Membership follows from the id, the campaign's seed and its fraction alone: it never changes and never leaks.
    """
    return unbiased and stable_fraction(seed, galaxy_id) < fraction


def evaluation_fraction(unbiased_ids: Sequence[str], *, seed: int, otherwise: float) -> float:
    """Return the share of the unbiased part that leaves a whole catalogue with `EVALUATION_MEMBERS` members.

    Parameters
    ----------
    unbiased_ids
        Ids of the unbiased part; empty where the catalogue does not mark one.
    otherwise
        The share of a catalogue whose unbiased part is not marked or no larger than that.
    """
    if len(unbiased_ids) <= EVALUATION_MEMBERS:
        return otherwise
    return sorted(stable_fraction(seed, galaxy_id) for galaxy_id in unbiased_ids)[EVALUATION_MEMBERS]


def catalogue_digest(galaxies: Iterable[Galaxy], *, after: str | None = None) -> str:
    """Return the digest that names a catalogue's content, galaxies in catalogue order.

    Parameters
    ----------
    after
        Digest of the version before, whose galaxies are not repeated.
    """
    lines = (
        f"{g.galaxy_id}\t{g.ra_deg}\t{g.dec_deg}\t{g.image_key}\t{g.unbiased:d}\t{g.evaluation:d}" for g in galaxies
    )
    return digest_of_lines(lines if after is None else chain([after], lines))

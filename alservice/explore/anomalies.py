"""Interesting anomalies: a person rates ten galaxies at a time, and the search learns what that person looks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from alservice.campaigns.store import CampaignRow
from alservice.errors import BadInput, NoIndex, NotFound
from alservice.explore.forests import joint_scores, rarity
from alservice.explore.index import Index
from alservice.explore.ratings import (
    Method,
    Rating,
    RatingStore,
    Search,
    check_may_rate,
    check_name,
    check_ratings,
    mean_ratings,
    newest,
)
from alservice.ids import seed_of
from alservice.science.interest import Interest, propose, scale_of
from alservice.shapes import BoolArray, FloatArray, IntArray
from alservice.storage.csv import csv_lines

if TYPE_CHECKING:
    from alservice.explore.service import Item, Opened

BATCH: Final = 10
"""Galaxies that are proposed together."""

COMPONENTS: Final = 40
"""Principal components that interest depends on, as in the paper: the last of 64, scaled alike, are mostly noise."""

MAX_TOP: Final = 1000
"""Galaxies of one list of the most interesting."""

_SAMPLE: Final = 100_000
_KEPT: Final = 4
"""Searches whose scores a process keeps: 4 bytes a galaxy each."""

_TRIES: Final = 5


class Campaigns(Protocol):
    """Campaigns by name."""

    def get(self, name: str, /) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""


class Indices(Protocol):
    """Indices by the name of their campaign."""

    def opened(self, name: str, /) -> Opened:
        """Return a campaign's index; raises `NotFound`, `NoIndex`, `BadConfig`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A search, and what of it may be shown.

    Parameters
    ----------
    is_current
        Whether the index is of the champion and the newest catalogue.
    n_rated
        Galaxies that were rated, by anybody.
    n_mine
        Those that this person rated.
    n_absent
        Rated galaxies that the index does not have.
    items
        By column, each with its ``interest`` where a list is sorted by it; rated ones with their mean ``rating``.
    """

    search: Search
    index: Index
    is_current: bool
    n_rated: int
    n_mine: int
    n_absent: int
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Learned:
    """What ratings taught of one index: N galaxies.

    Parameters
    ----------
    scores
        float32 (N,) expected rating, or joint score of the baseline.
    places, ratings
        (M,) of rated galaxies that the index has.
    """

    key: tuple[str, int]
    scores: FloatArray
    interest: Interest | None
    places: IntArray
    ratings: FloatArray


@dataclass(frozen=True, kw_only=True)
class AnomalyService:
    """Searches of campaigns' indices for what somebody finds interesting.

    What is proposed follows from the index, the ratings and the search's seed, whichever process is asked; ratings and
    reservations are in the store, so that a process that dies loses none.

    Parameters
    ----------
    explore
        Where indices are opened.
    """

    campaigns: Campaigns
    explore: Indices
    store: RatingStore
    _learned: dict[int, _Learned] = field(default_factory=dict, repr=False, compare=False)
    _scales: dict[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)
    _rarities: dict[tuple[str, int], FloatArray] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def begin(
        self,
        campaign: str,
        name: str,
        *,
        owner: str,
        is_shared: bool = False,
        method: Method = Method.GAUSSIAN_PROCESS,
        seed: int | None = None,
    ) -> Search:
        """Begin a search; the same again by the same person is the one that there is.

        Parameters
        ----------
        seed
            Root of its draws; one that follows from campaign and name where None.

        Raises
        ------
        NotFound
            No such campaign.
        BadInput
            The name is none, or the campaign has too many.
        Conflict
            The name stands for another search.
        """
        check_name(name)
        row = self.campaigns.get(campaign)
        root = seed_of("search", campaign, name) if seed is None else seed
        return self.store.create(row.id, name, owner=owner, is_shared=is_shared, method=method, seed=root)

    def list(self, campaign: str) -> Sequence[Search]:
        """Return a campaign's searches, newest first; raises `NotFound`."""
        return self.store.list(self.campaigns.get(campaign).id)

    def get(self, campaign: str, name: str) -> Search:
        """Return one; raises `NotFound`."""
        return self.store.get(self.campaigns.get(campaign).id, name)

    def batch(self, campaign: str, name: str, *, rater: str) -> Found:
        """Return the galaxies that a person is to rate: what is left of the last batch, or the next one.

        Of a shared search, no two people are given the same galaxy.

        Raises
        ------
        NotFound, NoIndex, BadConfig
            No such campaign or search; no index, or one without embeddings; a package is missing.
        NotAllowed
            The search is somebody else's own.
        """
        search = self.get(campaign, name)
        check_may_rate(search, rater)
        opened = self._opened(campaign)
        history = self.store.history(search.id)
        for _ in range(_TRIES):
            reserved = self.store.reserved(search.id)
            known = opened.table.known_places(list(reserved))
            mine = [galaxy_id for galaxy_id, who in reserved.items() if who == rater and galaxy_id in known]
            if mine:
                theirs = np.array([known[galaxy_id] for galaxy_id in mine], dtype=np.int64)
                return self._found(search, opened, history, rater, theirs, None)
            pending = np.array(sorted(known.values()), dtype=np.int64)
            places = self._proposed(search, opened, history, pending)
            if not len(places):
                return self._found(search, opened, history, rater, places, None)
            ids = [item["galaxy_id"] for item in opened.table.at(places.tolist())]
            self.store.reserve(search.id, ids, rater=rater)
        return self._found(search, opened, history, rater, np.empty(0, dtype=np.int64), None)

    def rate(self, campaign: str, name: str, ratings: Mapping[str, Any], *, rater: str) -> int:
        """Keep a person's ratings of galaxies, all or nothing; rating one again replaces what that person said.

        Parameters
        ----------
        ratings
            0 to 5 by galaxy id, of any galaxies of the index.

        Returns
        -------
        int
            Galaxies that this person rated.

        Raises
        ------
        BadInput
            A rating is none, or there are too many; the galaxy is named.
        NotFound, NoIndex
            No such campaign or search; the index has not such a galaxy; no index.
        NotAllowed
            The search is somebody else's own.
        """
        checked = check_ratings(ratings)
        search = self.get(campaign, name)
        check_may_rate(search, rater)
        self._opened(campaign).table.place_of(list(checked))
        self.store.rate(search.id, checked, rater=rater)
        return sum(line.rater == rater for line in newest(self.store.history(search.id)))

    def undo(self, campaign: str, name: str, *, rater: str) -> str | None:
        """Take back what a person rated last, who is then shown that galaxy again; return its id, None without any."""
        search = self.get(campaign, name)
        check_may_rate(search, rater)
        mine = [line for line in newest(self.store.history(search.id)) if line.rater == rater]
        if not mine:
            return None
        self.store.rate(search.id, {mine[-1].galaxy_id: None}, rater=rater)
        self.store.reserve(search.id, [mine[-1].galaxy_id], rater=rater)
        return mine[-1].galaxy_id

    def top(
        self,
        campaign: str,
        name: str,
        *,
        rater: str = "",
        n: int = 50,
        rated: bool = True,
        is_latest: bool = True,
    ) -> Found:
        """Return the most interesting galaxies, by what is expected of them.

        Parameters
        ----------
        rated
            Whether galaxies that were rated are among them.
        is_latest
            Whether the newest ratings count; if not, what the last batch was chosen by is enough, and quick.

        Raises
        ------
        BadInput
            More than `MAX_TOP` are asked for.
        NotFound, NoIndex
            As `batch`.
        """
        if not 1 <= n <= MAX_TOP:
            raise BadInput(f"1 to {MAX_TOP:,} galaxies may be listed, not {n:,}", field="n")
        search, opened = self.get(campaign, name), self._opened(campaign)
        history = self.store.history(search.id)
        learned = self._learn(search, opened, history, is_latest=is_latest)
        if not len(learned.places):
            return self._found(search, opened, history, rater, learned.places, learned)
        scores = learned.scores.copy()
        if not rated:
            scores[learned.places] = -np.inf
        n = min(n, len(scores) if rated else len(scores) - len(learned.places))
        most = np.argpartition(-scores, min(n, len(scores) - 1))[: n + 1]
        order = most[np.lexsort((most, -scores[most]))][:n]
        return self._found(search, opened, history, rater, order, learned)

    def lines(self, campaign: str, name: str, *, n: int = MAX_TOP) -> Iterator[str]:
        """Return the lines of a CSV of the most interesting galaxies, formulas made harmless; raises as `top`."""
        found = self.top(campaign, name, n=n)
        head = ("galaxy_id", "ra_deg", "dec_deg", "interest", "rating")
        rows = (
            [item["galaxy_id"], item["ra_deg"], item["dec_deg"], item["interest"], item["rating"]]
            for item in found.items
        )
        return csv_lines([head, *rows])

    def simulate(self, campaign: str, name: str, truth: Mapping[str, float], *, rater: str, n: int) -> int:
        """Rate what is proposed by what is known of it, until n galaxies are rated; return how many are.

        Parameters
        ----------
        truth
            Rating (0 to 5) by galaxy id.

        Raises
        ------
        NotFound
            A galaxy that is proposed is not among them.
        """
        rated = 0
        while True:
            found = self.batch(campaign, name, rater=rater)
            rated = found.n_mine
            wanted = [item["galaxy_id"] for item in found.items][: n - rated]
            if not wanted:
                return rated
            absent = next((galaxy_id for galaxy_id in wanted if galaxy_id not in truth), None)
            if absent is not None:
                raise NotFound(f"nothing is known of galaxy {absent!r}", galaxy=absent)
            self.rate(campaign, name, {galaxy_id: truth[galaxy_id] for galaxy_id in wanted}, rater=rater)

    def _opened(self, campaign: str) -> Opened:
        opened = self.explore.opened(campaign)
        if opened.neighbours is None:
            raise NoIndex(f"model {opened.index.model_id} has no embeddings: interest cannot be learned")
        return opened

    def _found(
        self,
        search: Search,
        opened: Opened,
        history: Sequence[Rating],
        rater: str,
        places: IntArray,
        learned: _Learned | None,
    ) -> Found:
        given, counted = mean_ratings(history), newest(history)
        items = opened.table.at(places.tolist()) if len(places) else []
        scores = [None] * len(items) if learned is None else learned.scores[places].tolist()
        return Found(
            search=search,
            index=opened.index,
            is_current=opened.is_current,
            n_rated=len(given),
            n_mine=sum(line.rater == rater for line in counted),
            n_absent=len(given) - len(opened.table.known_places(list(given))),
            items=tuple(
                {**item, "interest": score, "rating": given.get(item["galaxy_id"])}
                for item, score in zip(items, scores, strict=True)
            ),
        )

    def _learn(self, search: Search, opened: Opened, history: Sequence[Rating], *, is_latest: bool = True) -> _Learned:
        """Return what the ratings of a search teach; the last few are kept."""
        key = opened.index.version, history[-1].id if history else 0
        with self._lock:
            kept = self._learned.get(search.id)
        if kept is not None and (kept.key == key or (kept.key[0] == key[0] and not is_latest)):
            return kept
        given = mean_ratings(history)
        known = opened.table.known_places(list(given))
        places = np.array([known[name] for name in given if name in known], dtype=np.int64)
        ratings = np.array([rating for name, rating in given.items() if name in known])
        interest: Interest | None = None
        vectors = self._vectors(opened)
        if search.method is Method.FORESTS:
            rarities = self._rarity(search, opened)
            scores = joint_scores(vectors, rarities, places, ratings, seed=search.seed)
        elif len(places):
            interest = Interest.of(np.asarray(vectors[places]), ratings, scale=self._scale(opened))
            scores = interest.mean(vectors)
        else:
            scores = np.zeros(len(vectors), dtype=np.float32)
        learned = _Learned(
            key=key,
            scores=scores,
            interest=interest,
            places=places,
            ratings=ratings,
        )
        with self._lock:
            self._learned.pop(search.id, None)
            while len(self._learned) >= _KEPT:
                self._learned.pop(next(iter(self._learned)))
            self._learned[search.id] = learned
        return learned

    def _proposed(self, search: Search, opened: Opened, history: Sequence[Rating], pending: IntArray) -> IntArray:
        """Return the next places: at random until ten are rated, as in the paper; the baseline's are the rarest."""
        learned = self._learn(search, opened, history)
        n = len(learned.scores)
        open_to: BoolArray = np.ones(n, dtype=bool)
        open_to[learned.places] = False
        open_to[pending] = False
        rng = np.random.default_rng(seed_of(search.seed, opened.index.version, len(learned.places), len(pending)))
        if search.method is Method.FORESTS:
            order = np.lexsort((np.arange(n), -learned.scores))
            found: IntArray = order[open_to[order]][:BATCH]
            return found
        if learned.interest is None or len(learned.places) < BATCH:
            free = np.flatnonzero(open_to)
            return rng.choice(free, size=min(BATCH, len(free)), replace=False)
        return propose(
            learned.interest,
            self._vectors(opened),
            learned.scores,
            BATCH,
            open_to=open_to,
            pending=pending,
            rng=rng,
        )

    def _vectors(self, opened: Opened) -> FloatArray:
        if opened.neighbours is None:
            raise NoIndex(f"model {opened.index.model_id} has no embeddings: interest cannot be learned")
        return opened.neighbours.vectors

    def _scale(self, opened: Opened) -> FloatArray:
        version = opened.index.version
        with self._lock:
            found = self._scales.get(version)
        if found is None:
            vectors = self._vectors(opened)
            found = scale_of(np.asarray(vectors[:: max(1, len(vectors) // _SAMPLE)]))
            found[COMPONENTS:] = 0
            with self._lock:
                self._scales.clear()
                self._scales[version] = found
        return found

    def _rarity(self, search: Search, opened: Opened) -> FloatArray:
        key = opened.index.version, search.seed
        with self._lock:
            found = self._rarities.get(key)
        if found is None:
            found = rarity(self._vectors(opened), seed=search.seed)
            with self._lock:
                self._rarities.clear()
                self._rarities[key] = found
        return found

"""Release of a campaign's catalogue: champion, votes, and both together, row by row into files for researchers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alservice.acquisition.stopping import temper_members
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.galaxies import Catalogue, Galaxy, Shard
from alservice.catalogue.store import CatalogueStore, Extent
from alservice.errors import BadInput, NotFound
from alservice.ids import digest_of_lines
from alservice.prediction.scope import Scope
from alservice.prediction.service import PredictionService
from alservice.progress import Progress
from alservice.registry.records import Model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.release.columns import Column, dictionary_document, dictionary_text, release_columns
from alservice.release.folder import PROVENANCE, release_folder, write_document
from alservice.release.formats import FormatName, Layout, check_format, write_rows
from alservice.release.rows import Asking, Evidence, Rows, release_rows
from alservice.science.fusion import fit_temper
from alservice.science.posterior import Posterior, concat, take
from alservice.science.prediction import moments
from alservice.science.tree import Tree, is_packaged, load_tree, tree_document
from alservice.science.votes import inconsistent
from alservice.shapes import BoolArray, FloatArray, IntArray
from alservice.states import AskingState, SubjectState
from alservice.storage import ObjectStore, arrays
from alservice.storage.run_folder import write_whole
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.stops import Stop, StopStore
from alservice.subjects.subject import Subject
from alservice.telemetry import code_revision
from alservice.votes.service import VoteService

PAGE: Final = 20_000
"""Galaxies read at a time where nothing but their positions is wanted."""

VotesOf = Callable[[Sequence[str]], IntArray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What was written.

    Parameters
    ----------
    n_galaxies, n_predicted, n_voted
        Rows, those that the champion predicted, and those with votes.
    """

    path: Path
    n_galaxies: int
    n_predicted: int
    n_voted: int


@dataclass(frozen=True, kw_only=True)
class ReleaseService:
    """A campaign's newest catalogue with what its champion and its volunteers say."""

    campaigns: CampaignStore
    catalogues: CatalogueStore
    models: ModelStore
    snapshots: SnapshotStore
    ledger: SqlSubjectLedger
    stops: StopStore
    objects: ObjectStore
    prediction: PredictionService
    votes: VoteService
    progress: Progress

    def release(self, name: str, out: Path, file_format: FormatName, *, replace: bool = False) -> Release:
        """Write the release to a folder: whole, or not at all.

        What the champion has not predicted yet is predicted first. One shard is in memory at a time, or one pixel of
        HATS. The same models, votes and code give the same bytes.

        Parameters
        ----------
        replace
            Whether a release that is there gives way.

        Raises
        ------
        NotFound
            No such campaign, no catalogue, or no model promoted yet.
        BadConfig
            The format needs the extra `astro`, which is not installed.
        BadInput
            HATS without positions; what the format cannot hold; a folder that cannot be written.
        Conflict
            The folder exists.
        """
        row = self.campaigns.get(name)
        champion, catalogue = self.models.champion(row.id), self.catalogues.newest(row.id)
        if champion is None or catalogue is None:
            missing = "catalogue" if catalogue is None else "promoted model"
            raise NotFound(f"campaign {name} has no {missing} yet: nothing can be released", campaign=name)
        check_format(file_format)
        extent = self.catalogues.extent(catalogue.id)
        _check_positions(file_format, catalogue, extent)
        with release_folder(out, replace=replace) as folder:
            self.prediction.newest(name)
            contents = _Contents(self, row, catalogue, champion)
            columns = release_columns(contents.tree, positions=extent.n_positions > 0)
            layout = Layout(
                columns=columns,
                n_rows=catalogue.n_galaxies,
                id_bytes=extent.id_bytes,
                provenance=contents.provenance(),
                positions=lambda: self._positions(catalogue),
            )
            self.progress.start(f"release {name}", catalogue.n_galaxies)
            n_rows = write_rows(file_format, folder, layout, contents.rows(positions=extent.n_positions > 0))
            self.progress.finish()
            if n_rows != catalogue.n_galaxies:
                raise NotFound(f"{catalogue.n_galaxies - n_rows} galaxies have no prediction shard", campaign=name)
            write_documents(folder, columns, {**layout.provenance, "format": file_format, "votes": contents.voted()})
        return Release(
            path=out, n_galaxies=n_rows, n_predicted=contents.n_predicted, n_voted=contents.voted()["galaxies"]
        )

    def _positions(self, catalogue: Catalogue) -> Iterator[tuple[FloatArray, FloatArray]]:
        for first_row in range(0, catalogue.n_galaxies, PAGE):
            page = self.catalogues.galaxies(catalogue.id, first_row=first_row, limit=PAGE)
            yield np.array([g.ra_deg for g in page], np.float64), np.array([g.dec_deg for g in page], np.float64)


def write_documents(folder: Path, columns: Sequence[Column], provenance: dict[str, Any]) -> None:
    """Write provenance and data dictionary beside the rows."""
    write_document(folder / PROVENANCE, {"content": "release", **provenance})
    write_document(folder / "data-dictionary.json", dictionary_document(columns))
    write_whole(folder / "data-dictionary.md", dictionary_text(columns).encode())


def _check_positions(file_format: FormatName, catalogue: Catalogue, extent: Extent) -> None:
    lacking = catalogue.n_galaxies - extent.n_positions
    if file_format == "hats" and lacking:
        raise BadInput(
            f"hats is made of positions, and {lacking} of {catalogue.n_galaxies} galaxies have none: use parquet",
            catalogue=catalogue.id,
            galaxies=lacking,
        )


class _Contents:
    """Rows of one release, and where they come from."""

    def __init__(self, service: ReleaseService, row: CampaignRow, catalogue: Catalogue, champion: Model) -> None:
        self._service, self._row, self._catalogue, self._champion = service, row, catalogue, champion
        self.tree: Tree = load_tree(row.settings.tree)
        self._votes_of: VotesOf = service.votes.votes_of(row)
        self._shards = service.models.posterior_shards(champion.id, catalogue.id, Scope.CATALOGUE)
        self._temper, self._temper_galaxies = self._fit_temper()
        self._trained = self._training_ids()
        self.n_predicted = 0
        self._n_galaxies = self._n_votes = 0
        self._digest = hashlib.sha256()

    def provenance(self) -> dict[str, Any]:
        """Return all that the rows follow from, votes aside."""
        row, catalogue, champion, tree = self._row, self._catalogue, self._champion, self.tree
        snapshot = self._service.snapshots.of_cycle(champion.cycle_id)
        return {
            "campaign": {"name": row.settings.name, "version": row.version, "digest": row.settings.digest},
            "catalogue": {
                "id": catalogue.id,
                "source": catalogue.source,
                "digest": catalogue.digest,
                "galaxies": catalogue.n_galaxies,
                "failed": catalogue.n_failed,
            },
            "tree": {"name": tree.name, "hash": tree.hash, **({} if is_packaged(tree) else tree_document(tree))},
            "model": {
                "id": champion.id,
                "cycle": champion.cycle_number,
                "digest": champion.digest,
                "code_revision": champion.card.get("code_revision"),
                "trained_on": None if snapshot is None else snapshot.digest,
            },
            "predictions": {"digest": digest_of_lines(shard.key for shard in self._shards)},
            "temper": {
                "galaxies": self._temper_galaxies,
                "factors": {q.name: round(float(f), 6) for q, f in zip(tree.questions, self._temper, strict=True)},
            },
            "code_revision": code_revision(),
        }

    def voted(self) -> dict[str, Any]:
        """Return which votes were released, once all rows are made."""
        return {
            "galaxies": self._n_galaxies,
            "answers": self._n_votes,
            "digest": self._digest.hexdigest(),
            "from": self._row.settings.ingest.tallies_from,
        }

    def rows(self, *, positions: bool) -> Iterator[Rows]:
        """Yield rows in the order of the catalogue, those of one shard at a time."""
        size = self._row.settings.images.shard_galaxies
        for shard in self._shards:
            galaxies = self._service.catalogues.galaxies(self._catalogue.id, first_row=shard.index * size, limit=size)
            yield release_rows(self.tree, self._evidence(shard, galaxies), temper=self._temper, positions=positions)
            self._service.progress.advance(len(galaxies))

    def _evidence(self, shard: Shard, galaxies: Sequence[Galaxy]) -> Evidence:
        ids = [galaxy.galaxy_id for galaxy in galaxies]
        counts = self._votes_of(ids)
        voted: BoolArray = np.logical_or.reduce(counts != 0, axis=1)
        self._note_votes(ids, counts, voted)
        mean, sd, posterior = self._said(shard, ids, {ids[row] for row in np.flatnonzero(voted).tolist()})
        self.n_predicted += int(np.isfinite(mean[:, 0]).sum())
        return Evidence(
            galaxies=galaxies,
            mean=mean,
            sd=sd,
            posterior=posterior,
            counts=counts,
            in_training=self._in_training(galaxies),
            asking=self._asking(ids),
        )

    def _note_votes(self, ids: Sequence[str], counts: IntArray, voted: BoolArray) -> None:
        self._n_galaxies += int(voted.sum())
        self._n_votes += int(counts.sum())
        for row in np.flatnonzero(voted).tolist():
            self._digest.update(f"{ids[row]}\t{counts[row].tolist()}\n".encode())

    def _said(self, shard: Shard, ids: Sequence[str], voted: set[str]) -> tuple[FloatArray, FloatArray, Posterior]:
        """Return means and deviations (N, A) of the model's fractions, and the posterior of those with votes."""
        n_answers = self.tree.n_answers
        mean, sd = (np.full((len(ids), n_answers), np.nan) for _ in range(2))
        if not shard.n_galaxies:
            return mean, sd, self._nobody()
        stored = self._service.prediction.stored
        found = stored.read(shard)
        place = {name: row for row, name in enumerate(ids)}
        rows = [place[name] for name in found.galaxy_ids]
        if isinstance(found, Posterior):
            mean[rows], sd[rows] = moments(self.tree, found.concentrations)
        else:
            mean[rows], sd[rows] = found.mean, found.sd
        wanted = voted & set(found.galaxy_ids)
        return mean, sd, stored.drawn(self.tree, found, wanted) if wanted else self._nobody()

    def _nobody(self) -> Posterior:
        """Return a posterior of no galaxy."""
        return Posterior(
            galaxy_ids=(),
            concentrations=np.zeros((0, 1, self.tree.n_answers), dtype=np.float32),
            embeddings=np.zeros((0, 0), dtype=np.float16),
            tree_hash=self.tree.hash,
            model=self._champion.digest,
        )

    def _fit_temper(self) -> tuple[FloatArray, int]:
        """Return the factors (Q,) by which the model is trusted, and the members whose votes say so."""
        service, found = self._service, []
        counts: list[IntArray] = []
        shards = service.prediction.predict(self._row.settings, self._catalogue.id, self._champion, Scope.EVALUATION)
        for posterior in service.prediction.stored.draws(self._row.settings, shards):
            votes = self._votes_of(posterior.galaxy_ids)
            rows = np.flatnonzero(votes.any(axis=1) & ~inconsistent(self.tree, votes).any(axis=1))
            if len(rows):
                found.append(take(posterior, rows))
                counts.append(votes[rows])
        if not found:
            return np.ones(self.tree.n_questions), 0
        members, votes = concat(found), np.concatenate(counts)
        some = temper_members(members.galaxy_ids)
        return fit_temper(self.tree, members.concentrations[some], votes[some]), len(some)

    def _training_ids(self) -> pa.Array:
        """Return ids of the snapshot that the champion was trained on, members of the evaluation stream included."""
        snapshot = self._service.snapshots.of_cycle(self._champion.cycle_id)
        ids = () if snapshot is None else arrays.decode_counts(self._service.objects.get(snapshot.key))[0]
        return pa.array(ids, pa.string())

    def _in_training(self, galaxies: Sequence[Galaxy]) -> BoolArray:
        counted = pc.is_in(pa.array([g.galaxy_id for g in galaxies], pa.string()), value_set=self._trained)
        members = np.array([galaxy.evaluation for galaxy in galaxies], dtype=bool)
        found: BoolArray = counted.to_numpy(zero_copy_only=False).astype(bool) & ~members
        return found

    def _asking(self, ids: Sequence[str]) -> list[Asking]:
        chosen = {row.galaxy_id: row for row in self._service.ledger.of_galaxies(self._row.id, ids)}
        stops = self._service.stops.of_galaxies(self._row.id, list(chosen))
        rule = self._row.settings.zooniverse.retirement
        return [asking_of(chosen[name], stops.get(name), rule) if name in chosen else Asking() for name in ids]


_STATES: Final = {
    SubjectState.CREATING: "planned",
    SubjectState.CREATED: "planned",
    SubjectState.VERIFIED: "planned",
}
"""States of the ledger that are one to a reader; the others keep their name."""

_ENDS: Final = {"own": "all-votes", "posterior": "all-votes", "panoptes": "workflow-rule"}


def asking_of(subject: Subject, stop: Stop | None, retirement: str) -> Asking:
    """Return what is asked of a subject, in the words of a release.

    Parameters
    ----------
    stop
        What was decided of it last; None where nothing was.
    retirement
        The campaign's.
    """
    state, reason, rule = _STATES.get(subject.state, str(subject.state)), "", retirement
    if subject.state in {SubjectState.WITHDRAWN, SubjectState.FAILED}:
        reason = (subject.error or "").split(":")[0]
    elif subject.state is SubjectState.RETIRED:
        reason = _ENDS[retirement]
    elif subject.state is SubjectState.LIVE:
        reason = "too-few-votes"
    if stop is not None and subject.state in {SubjectState.LIVE, SubjectState.RETIRED}:
        rule = f"{retirement} {stop.detail['rule']} {stop.detail['target']:g}"
        if stop.state is AskingState.STOPPED:
            state = "retired"
        if state == "live" or stop.state is AskingState.STOPPED:
            reason = stop.reason
    return Asking(state=state, rule=rule[:80], reason=reason[:80], votes=subject.n_votes)

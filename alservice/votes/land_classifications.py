"""Rows into the store: rows, verdicts and tallies in one transaction, reading no more of the past than needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from alservice.votes.classification import Classification, Verdict
from alservice.votes.counting import GalaxyTally, Judge
from alservice.votes.ingest import Landing


def land(
    landing: Landing, judge: Judge, rows: Iterable[Classification], *, source: str, received_at: datetime
) -> tuple[int, Counter[Verdict]]:
    """Land rows of one source; return how many were new, and the verdicts of all by name.

    The result is that of judging every touched galaxy anew; see `alservice.votes.counting`.
    """
    requested = list(rows)
    distinct = {row.raw.classification_id: row for row in requested}  # pages may overlap: the last one is newest
    verdicts, tallies = _judge_new(landing, judge, distinct.values())
    inserted = landing.insert(list(distinct.values()), source=source, received_at=received_at, verdicts=verdicts)
    known = [i for i in distinct if i not in inserted.new and i not in inserted.corrected]
    verdicts |= landing.verdicts_of(known)
    stale = {galaxy for galaxy in inserted.corrected.values() if galaxy is not None}
    stale |= {
        row.galaxy_id
        for number, row in distinct.items()
        if row.galaxy_id is not None and row.galaxy_id not in tallies and number in inserted.new
    }
    verdicts |= recount(landing, judge, sorted(stale))
    _save(landing, judge, {galaxy: tally for galaxy, tally in tallies.items() if galaxy not in stale})
    return len(inserted.new), Counter(verdicts[row.raw.classification_id] for row in requested)


def recount(landing: Landing, judge: Judge, galaxy_ids: Sequence[str]) -> dict[int, Verdict]:
    """Judge and count galaxies from all their rows; return the verdicts."""
    verdicts: dict[int, Verdict] = {}
    tallies: dict[str, GalaxyTally] = {}
    if galaxy_ids:
        for galaxy_id, rows in landing.rows_of(galaxy_ids).items():
            judged, tallies[galaxy_id] = judge.of_galaxy(rows)
            verdicts |= judged
        landing.save_verdicts(verdicts)
        _save(landing, judge, tallies)
    return verdicts


def _save(landing: Landing, judge: Judge, tallies: Mapping[str, GalaxyTally]) -> None:
    """Replace tallies, and what is wrong with them."""
    landing.save_tallies(tallies)
    landing.save_faults(list(tallies), judge.impossible(tallies))


def _judge_new(
    landing: Landing, judge: Judge, rows: Iterable[Classification]
) -> tuple[dict[int, Verdict], Mapping[str, GalaxyTally]]:
    """Judge rows of no galaxy, and those that come after all others of theirs."""
    by_galaxy: defaultdict[str, list[Classification]] = defaultdict(list)
    verdicts: dict[int, Verdict] = {}
    for row in rows:
        if row.galaxy_id is None:
            verdicts[row.raw.classification_id] = Verdict.UNKNOWN_SUBJECT
        else:
            by_galaxy[row.galaxy_id].append(row)
    tallies: dict[str, GalaxyTally] = {}
    before = landing.tallies_of(sorted(by_galaxy))
    for galaxy_id, group in by_galaxy.items():
        judged = judge.added(group, before.get(galaxy_id))
        if judged is not None:
            verdicts |= judged[0]
            tallies[galaxy_id] = judged[1]
    return verdicts, tallies

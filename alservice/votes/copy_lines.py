"""Classifications and tallies in the text form of COPY, the fastest way into Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from alservice.errors import BadInput
from alservice.votes.classification import Classification, RawClassification, Verdict
from alservice.votes.counting import GalaxyTally

_NULL: Final = "\\N"


def row_lines(rows: Iterable[Classification], verdicts: Mapping[int, Verdict], shared: str) -> Iterable[str]:
    """Yield rows in the text form of COPY, the columns as landings have them; `shared` is what all have at the end."""
    documents: dict[int, str] = {}
    for row in rows:
        raw = row.raw
        number = raw.classification_id
        annotations = documents.get(id(raw.annotations))
        if annotations is None:
            annotations = documents[id(raw.annotations)] = escaped(json.dumps(list(raw.annotations)))
        subject, completed = raw.zooniverse_subject_id, raw.completed
        created_at, answers = raw.created_at.isoformat(), ",".join(map(str, row.answers))
        yield (
            # `!s`, as the formatting of a bool takes ten times as long.
            f"{number}\t{raw.workflow_id}\t{_text(raw, 'workflow_version')}\t{_NULL if subject is None else subject}\t"
            f"{_text(raw, 'user_hash')}\t{_text(raw, 'session')}\t{_text(raw, 'started_at')}\t"
            f"{_text(raw, 'finished_at')}\t{raw.seen_before!s}\t{raw.live_project!s}\t{created_at}\t{annotations}\t"
            f"{_NULL if completed is None else str(completed)}\t{raw.gold_standard!s}\t{raw.after_retirement!s}\t"
            f"{_optional(row.galaxy_id)}\t{{{answers}}}\t{row.abstentions}\t{_optional(row.fault)}\t"
            f"{verdicts.get(number, _NULL)}\t{shared}\n"
        )


def tally_line(galaxy_id: str, tally: GalaxyTally) -> str:
    """Return a tally in the text form of COPY."""
    votes = str(tally.votes.tolist())[1:-1]
    seen = _NULL if tally.seen is None else f"\\\\x{tally.seen.hex()}"
    return f"{escaped(galaxy_id)}\t{tally.classifications}\t{{{votes}}}\t{tally.last_id}\t{seen}\n"


def _text(raw: RawClassification, name: str) -> str:
    value: str | None = getattr(raw, name)
    if value is None:
        return _NULL
    if not value.isprintable():
        number = raw.classification_id
        raise BadInput(f"classification {number}: {name} is not printable text", classification=number, field=name)
    return value.replace("\\", "\\\\") if "\\" in value else value


def _optional(value: str | None) -> str:
    return _NULL if value is None else escaped(value)


def escaped(value: str) -> str:
    """Return text as COPY takes it."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

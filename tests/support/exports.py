"""Export files as Zooniverse writes them, made of raw classifications."""

import csv
import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alservice.zooniverse.records import RawClassification

COLUMNS = [
    "classification_id",
    "user_name",
    "user_id",
    "user_ip",
    "workflow_id",
    "workflow_name",
    "workflow_version",
    "created_at",
    "gold_standard",
    "expert",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
]


def export_cells(raw: RawClassification, tasks: dict[str, Any], *, user_id: str = "", name: str = "Åsa") -> list[str]:
    """Return one row: labels for indexes, and no word of what is as usual."""
    metadata = {"session": raw.session, "started_at": raw.started_at, "finished_at": raw.finished_at}
    metadata |= {"live_project": raw.live_project} | ({"seen_before": True} if raw.seen_before else {})
    metadata = {key: value for key, value in metadata.items() if value is not None}
    retired = {"retired_at": "2020-01-01T00:00:00.000Z"} if raw.after_retirement else None
    return [
        str(raw.classification_id),
        name,
        user_id,
        "0" * 20,
        str(raw.workflow_id),
        'a, "workflow"\nof two lines',
        raw.workflow_version,
        raw.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "true" if raw.gold_standard else "",
        "",
        json.dumps(metadata),
        json.dumps([_labelled(annotation, tasks) for annotation in raw.annotations]),
        json.dumps({str(raw.zooniverse_subject_id): {"retired": retired}}, separators=(",", ":")),
        str(raw.zooniverse_subject_id),
    ]


def _labelled(annotation: Any, tasks: dict[str, Any]) -> dict[str, Any]:
    task, value = annotation["task"], annotation["value"]
    answers = tasks[task]["answers"]
    label = value if value is None else f"![i](https://x/i.png) {answers[value]['label']}"
    return {"task": task, "task_label": tasks[task]["question"], "value": label}


def write_export(path: Path, rows: Iterable[list[str]], *, zipped: bool = False) -> Path:
    """Write a file as bytes; gzip where asked."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path

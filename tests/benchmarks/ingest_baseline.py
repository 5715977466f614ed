"""What ingest is measured against: the script that a survey team would write with pandas and to_sql.

``short`` counts votes by subject, task and label and stores six columns. ``equal`` ends where our ingest ends: names
hashed, metadata read, labels decoded to the tree's columns, first classification per person and sending kept, rows and
tallies stored. Neither can run twice, checks a cell, or knows workflow versions.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from alservice.science.tree import Tree
from alservice.storage.postgres import make_engine

_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
CHUNK = 10_000


def short(table: pd.DataFrame, _tree: Tree) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows and tallies by what volunteers read."""
    table = table.drop_duplicates("classification_id")
    votes: list[dict[str, Any]] = [
        {"subject": subject, "task": answer["task"], "value": answer["value"]}
        for subject, cell in zip(table["subject_ids"], table["annotations"], strict=True)
        for answer in json.loads(cell)
    ]
    tallies = pd.DataFrame(votes).groupby(["subject", "task", "value"]).size().rename("votes").reset_index()
    columns = ["classification_id", "user_id", "workflow_version", "created_at", "annotations", "subject_ids"]
    return table[columns], tallies


def equal(table: pd.DataFrame, tree: Tree) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what our ingest stores: every column but those about its own workings."""
    meaning = {
        (question.task, " ".join(label.split()).casefold()): column
        for question in tree.questions
        for label, column in zip((*question.labels, *question.answers), question.columns * 2, strict=True)
    }
    table = table.drop_duplicates("classification_id").copy()
    metadata = pd.DataFrame(table["metadata"].map(json.loads).tolist(), index=table.index)
    for name in ("session", "started_at", "finished_at", "live_project"):
        table[name] = metadata[name]
    table["seen_before"] = metadata.get("seen_before", False)
    table["created_at"] = pd.to_datetime(table["created_at"], format="%Y-%m-%d %H:%M:%S UTC", utc=True)
    people = {user: hashlib.sha256(str(user).encode()).hexdigest() for user in table["user_id"].dropna().unique()}
    table["user_hash"] = table["user_id"].map(people)
    answers = table["annotations"].map(json.loads)
    table["answers"] = [
        json.dumps([meaning.get((a["task"], " ".join(_IMAGE.sub(" ", a["value"]).split()).casefold())) for a in given])
        for given in answers
    ]
    known = table["user_hash"].notna()
    again = table.duplicated(["subject_ids", "session", "started_at"])
    again |= known & table.duplicated(["subject_ids", "user_hash"])
    table["verdict"] = (again | ~table["live_project"]).map({True: "excluded", False: "counted"})
    counted = table[table["verdict"] == "counted"]
    votes = counted[["subject_ids"]].assign(column=counted["answers"].map(json.loads)).explode("column")
    tallies = pd.crosstab(votes["subject_ids"], votes["column"]).reset_index()
    columns = ["user_name", "user_id", "user_ip", "workflow_name", "expert", "metadata", "subject_data"]
    return table.drop(columns=columns), tallies


def measure(
    url: str, path: Path, rows: int, tree: Tree, make: Callable[[pd.DataFrame, Tree], tuple[pd.DataFrame, pd.DataFrame]]
) -> tuple[float, float]:
    """Return seconds, and CPU seconds of this process, from the file to committed tables."""
    engine = make_engine(url)
    start, cpu = time.perf_counter(), time.process_time()
    landed, tallies = make(pd.read_csv(path, nrows=rows), tree)
    landed.to_sql("baseline_rows", engine, index=False, if_exists="replace", chunksize=CHUNK)
    tallies.to_sql("baseline_tallies", engine, index=False, if_exists="replace", chunksize=CHUNK)
    spent = time.perf_counter() - start, time.process_time() - cpu
    engine.dispose()
    return spent

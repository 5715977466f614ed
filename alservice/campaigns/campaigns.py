"""The edge where documents become campaigns: YAML files, JSON rows and forms, validated by one set of rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from alservice.campaigns.campaign import Campaign
from alservice.errors import BadConfig, BadInput
from alservice.files import read_regular
from alservice.science.tree import load_tree
from alservice.votes.decoding import IGNORE

MAX_FILE_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_EVENTS: Final = 20_000
"""Bounds of a campaign's file: a hundred times of what the longest needs."""

_OWN_WORDS = re.compile(r"^Value error, (\[[a-z-]+\] )?")
"""What pydantic and a typed error put before a sentence of ours, which the caller's own error says again."""


def parse_campaign(document: Mapping[str, Any], *, source: str) -> Campaign:
    """Return a legal campaign, or say which field of which source is wrong.

    Raises
    ------
    BadConfig
        A field is missing, unknown or out of range, or names a question or answer that the tree lacks.
    BadTree
        The tree is not a packaged one.
    """
    try:
        campaign = TypeAdapter(Campaign).validate_python(document)
    except ValidationError as error:
        raise BadConfig(f"{source}: {explain(error)}", source=source) from None
    _check_names(campaign, source)
    return campaign


def load_campaign_file(path: Path) -> Campaign:
    """Read a campaign from a YAML file; raises `BadConfig` naming the file and field."""
    if not path.exists():
        raise BadConfig(f"{path}: no such file", path=str(path))
    try:
        text = read_regular(path, max_bytes=MAX_FILE_BYTES).decode("utf-8")
        _refuse_bombs(text)
        document = yaml.safe_load(text)
    except BadInput as error:
        raise BadConfig(f"{path}: cannot be read: {error.message.removeprefix(f'{path}: ')}", path=str(path)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise BadConfig(f"{path}: not YAML: {' '.join(str(error).split())}", path=str(path)) from error
    if not isinstance(document, dict):
        raise BadConfig(f"{path}: a campaign is a mapping of fields", path=str(path))
    return parse_campaign(document, source=str(path))


def _refuse_bombs(text: str) -> None:
    """Raise `BadInput` for YAML that takes more to read than it says; nothing is built yet, and nothing is nested."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadInput(f"it is nested more than {MAX_DEPTH} deep")
        if number > MAX_EVENTS:
            raise BadInput(f"it holds more than {MAX_EVENTS:,} values")
        if isinstance(event, yaml.AliasEvent):
            raise BadInput("it has an alias; write out what that stands for")


def _check_names(campaign: Campaign, source: str) -> None:
    tree = load_tree(campaign.tree)
    unknown = sorted(set(campaign.acquisition.question_weights) - {q.name for q in tree.questions})
    if unknown:
        raise BadConfig(f"{source}: acquisition.question_weights: tree {tree.name} has no question {unknown[0]}")
    if campaign.evaluation.answer not in tree.columns:
        raise BadConfig(f"{source}: evaluation.answer: tree {tree.name} has no answer {campaign.evaluation.answer}")
    wanted = campaign.acquisition.threshold_answer
    if campaign.acquisition.policy == "threshold" and wanted not in tree.columns:
        raise BadConfig(f"{source}: acquisition.threshold_answer: tree {tree.name} has no answer {wanted}")
    meant = {column for rule in campaign.decoding for column in rule.labels.values()} - {IGNORE}
    unknown = sorted(meant - set(tree.columns))
    if unknown:
        raise BadConfig(f"{source}: decoding: tree {tree.name} has no answer {unknown[0]}")


def explain(error: ValidationError, *, prefix: str = "") -> str:
    """Return what is wrong with each field, by name and without the value, which may be a secret."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    names = (".".join(str(part) for part in fault["loc"]) for fault in faults)
    shown = (f"{prefix}{name.upper()}" if prefix else name for name in names)
    reasons = (_OWN_WORDS.sub("", fault["msg"]) for fault in faults)
    return "; ".join(f"{name}: {reason}" if name else reason for name, reason in zip(shown, reasons, strict=True))

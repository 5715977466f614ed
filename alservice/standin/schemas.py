"""The closed write schemas: what Panoptes rejects with 422 before it looks at the database."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alservice.standin.errors import RefusalError, api_error

Check = Callable[[str, Any], None]


def _refuse(name: str, complaint: str) -> RefusalError:
    return api_error(422, f'{{"{name}"=>"{complaint}"}}')


def typed(*types: type, words: str) -> Check:
    """Return a check for the type of a value."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, types):
            raise _refuse(name, f"value {value!r} did not match the following type: {words}")

    return check


STRING = typed(str, words="string")
BOOLEAN = typed(bool, words="boolean")
OBJECT = typed(dict, words="object")
IDENTITY = typed(str, int, words="string, integer")
_DIGITS = re.compile(r"[0-9]*")


def digits(name: str, value: Any) -> None:
    """Check an id in a classification's links: string or integer, digits only."""
    IDENTITY(name, value)
    if not _DIGITS.fullmatch(str(value)):
        raise _refuse(name, f"value {value!r} did not match the regex '^[0-9]*$'")


def array_of(check_item: Check) -> Check:
    """Return a check for an array whose items all pass `check_item`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list):
            raise _refuse(name, f"value {value!r} did not match the following type: array")
        for index, item in enumerate(value):
            check_item(f"{name}/{index}", item)

    return check


def only_true(name: str, value: Any) -> None:
    """Check for the one value a front end may claim."""
    if value is not True:
        raise _refuse(name, f"value {value!r} did not match one of the following values: true")


def location(name: str, value: Any) -> None:
    """Check for a MIME type to upload, or one MIME type and its URL."""
    if isinstance(value, str):
        return
    if not isinstance(value, dict) or len(value) != 1 or not all(isinstance(url, str) for url in value.values()):
        raise _refuse(name, f"value {value!r} did not match any of the required schemas")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """An object: which keys it must have, which it may have, and whether others are allowed."""

    required: frozenset[str] = frozenset()
    properties: Mapping[str, Check | Schema] = field(default_factory=dict)
    is_open: bool = False

    def __call__(self, name: str, value: Any) -> None:
        """Check `value`.

        Raises
        ------
        RefusalError
            422 with the first complaint, in the words of Panoptes' schema library.
        """
        OBJECT(name, value)
        missing = sorted(self.required - value.keys())
        if missing:
            raise _refuse(name, f"did not contain a required property of '{missing[0]}'")
        extra = sorted(value.keys() - self.properties.keys())
        if extra and not self.is_open:
            raise _refuse(
                name,
                f"contains additional properties {extra} outside of the schema when none are allowed",
            )
        for key, check in self.properties.items():
            if key in value:
                check(f"{name}/{key}", value[key])


SUBJECT_CREATE = Schema(
    required=frozenset({"locations", "links"}),
    properties={
        "metadata": OBJECT,
        "locations": array_of(location),
        "external_id": STRING,
        "links": Schema(
            required=frozenset({"project"}),
            properties={"project": IDENTITY, "subject_sets": array_of(IDENTITY)},
        ),
    },
)
SUBJECT_UPDATE = Schema(
    properties={
        "metadata": OBJECT,
        "locations": array_of(location),
        "links": Schema(properties={"subject_sets": array_of(IDENTITY)}),
    },
)
SUBJECT_SET_CREATE = Schema(
    required=frozenset({"display_name", "links"}),
    properties={
        "display_name": STRING,
        "metadata": OBJECT,
        "links": Schema(
            required=frozenset({"project"}),
            properties={
                "project": IDENTITY,
                "workflows": array_of(IDENTITY),
                "subjects": array_of(IDENTITY),
            },
        ),
    },
)
SUBJECT_SET_UPDATE = Schema(
    properties={
        "display_name": STRING,
        "metadata": OBJECT,
        "links": Schema(properties={"workflows": array_of(IDENTITY), "subjects": array_of(IDENTITY)}),
    },
)
_WORKFLOW: dict[str, Check | Schema] = {
    "display_name": STRING,
    "active": BOOLEAN,
    "configuration": OBJECT,
    "first_task": STRING,
    "grouped": BOOLEAN,
    "mobile_friendly": BOOLEAN,
    "pairwise": BOOLEAN,
    "prioritized": BOOLEAN,
    "public_gold_standard": BOOLEAN,
    "retirement": Schema(properties={"criteria": STRING, "options": OBJECT}),
    "steps": array_of(array_of(lambda _name, _value: None)),
    "tasks": OBJECT,
}
WORKFLOW_UPDATE = Schema(
    properties={
        **_WORKFLOW,
        "links": Schema(properties={"subject_sets": array_of(IDENTITY), "tutorial_subject": IDENTITY}),
    }
)
WORKFLOW_CREATE = Schema(
    required=frozenset({"display_name", "primary_language", "links"}),
    properties={
        **_WORKFLOW,
        "primary_language": STRING,
        "links": Schema(
            required=frozenset({"project"}),
            properties={
                "project": IDENTITY,
                "subject_sets": array_of(IDENTITY),
                "tutorial_subject": IDENTITY,
            },
        ),
    },
)
CLASSIFICATION_CREATE = Schema(
    required=frozenset({"metadata", "annotations", "links"}),
    properties={
        "completed": BOOLEAN,
        "gold_standard": BOOLEAN,
        "metadata": Schema(
            required=frozenset({"started_at", "finished_at", "user_agent", "user_language", "workflow_version"}),
            properties={
                "started_at": STRING,
                "finished_at": STRING,
                "user_agent": STRING,
                "user_language": STRING,
                "workflow_version": STRING,
                "utc_offset": STRING,
                "seen_before": only_true,
            },
            is_open=True,
        ),
        "annotations": array_of(Schema(properties={"task": STRING}, is_open=True)),
        "links": Schema(
            required=frozenset({"project", "workflow", "subjects"}),
            properties={"project": digits, "workflow": digits, "subjects": array_of(digits)},
        ),
    },
)
EXPORT_CREATE = Schema(
    required=frozenset({"content_type"}),
    properties={"content_type": STRING, "metadata": OBJECT},
)

"""The text of a workflow's tasks, split from their structure and put back, and answers given by label."""

from __future__ import annotations

from typing import Any

_TEXT_KEYS = frozenset({"help", "instruction", "label", "question", "title"})


def split_text(tasks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return `tasks` with its texts replaced by keys such as ``T0.answers.0.label``, and the texts by key."""
    strings: dict[str, str] = {}

    def visit(node: Any, path: str) -> Any:
        if isinstance(node, list):
            return [visit(item, f"{path}.{index}") for index, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        plain: dict[str, Any] = {}
        for key, value in node.items():
            where = f"{path}.{key}" if path else key
            if key in _TEXT_KEYS and isinstance(value, str):
                strings[where] = value
                plain[key] = where
            else:
                plain[key] = visit(value, where)
        return plain

    structure: dict[str, Any] = visit(tasks, "")
    return structure, strings


def label_annotation(annotation: dict[str, Any], tasks: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation as the export words it: labels instead of indexes, and the question beside them.

    Single, multiple, drawing and combo tasks are worded; an annotation of any other or of an unknown task is
    returned as it was sent.
    """
    task = tasks.get(str(annotation.get("task")), {})
    worded = dict(annotation)
    value = annotation.get("value")
    match task.get("type"):
        case "combo":
            parts = value if isinstance(value, list) else []
            worded["task_label"] = None
            worded["value"] = [label_annotation(part, tasks) if isinstance(part, dict) else part for part in parts]
        case "drawing":
            worded["task_label"] = task.get("instruction")
            marks = value if isinstance(value, list) else []
            worded["value"] = [_label_mark(mark, task.get("tools")) for mark in marks]
        case "multiple":
            worded["task_label"] = task.get("question")
            chosen = value if isinstance(value, list) else []
            worded["value"] = [_label(task.get("answers"), index) for index in chosen]
        case "single":
            worded["task_label"] = task.get("question")
            worded["value"] = None if value is None else _label(task.get("answers"), value)
    return worded


def _label_mark(mark: Any, tools: Any) -> Any:
    return {**mark, "tool_label": _label(tools, mark.get("tool"))} if isinstance(mark, dict) else mark


def _label(choices: Any, index: Any) -> str:
    known = isinstance(choices, list) and isinstance(index, int) and not isinstance(index, bool)
    if not known or not 0 <= index < len(choices):
        return "unknown answer label"
    return str(choices[index].get("label"))

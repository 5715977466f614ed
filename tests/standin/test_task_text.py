"""Task text: split from the structure, and annotations in words."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alservice.standin.task_text import label_annotation, split_text
from tests.standin.support import tasks

KEYS = st.sampled_from(["T0", "T1", "question", "label", "answers", "next", "type", "help"])
NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def put_back(node: Any, strings: dict[str, str], path: str = "") -> Any:
    """Return a structure with its texts in their places again."""
    if isinstance(node, list):
        return [put_back(item, strings, f"{path}.{index}") for index, item in enumerate(node)]
    if isinstance(node, dict):
        return {key: put_back(value, strings, f"{path}.{key}" if path else key) for key, value in node.items()}
    return strings.get(path, node)


@given(st.dictionaries(KEYS, NODES, max_size=3))
def test_nothing_is_lost_when_text_is_split_off(given_tasks: dict[str, Any]) -> None:
    """Structure and texts together are the tasks again."""
    structure, strings = split_text(given_tasks)
    assert put_back(structure, strings) == given_tasks


@given(st.text(min_size=1), st.text(min_size=1))
def test_wording_does_not_touch_the_structure(first: str, second: str) -> None:
    """Two wordings of a question have one structure and, unless equal, two texts."""
    split = [split_text({"T0": {**tasks()["T0"], "question": wording}}) for wording in (first, second)]
    assert split[0][0] == split[1][0]
    assert (split[0][1] == split[1][1]) == (first == second)


def test_annotations_of_each_kind_are_worded() -> None:
    """Multiple gives a list, drawing names its tools, combo words its parts, text is left as it is."""
    known = {
        "T0": {"type": "multiple", "question": "Odd?", "answers": [{"label": "Ring"}, {"label": "Lens"}]},
        "T1": {"type": "drawing", "instruction": "Mark", "tools": [{"label": "Point"}]},
        "T2": {"type": "combo", "tasks": ["T0", "T3"]},
        "T3": {"type": "text", "instruction": "Say"},
    }
    multiple = {"task": "T0", "value": [1, 0, 5, -1, True]}
    worded = {
        "task": "T0",
        "value": ["Lens", "Ring", *["unknown answer label"] * 3],
        "task_label": "Odd?",
    }
    said = {"task": "T3", "value": "hello"}
    assert label_annotation(multiple, known) == worded
    assert label_annotation(said, known) == said
    assert label_annotation({"task": "T9", "value": 0}, known) == {"task": "T9", "value": 0}
    drawn = label_annotation({"task": "T1", "value": [{"tool": 0, "x": 1}]}, known)
    assert drawn["value"] == [{"tool": 0, "x": 1, "tool_label": "Point"}]
    assert label_annotation({"task": "T2", "value": [multiple, said]}, known)["value"] == [worded, said]
    assert label_annotation({"task": "T0", "value": None}, known)["value"] == []

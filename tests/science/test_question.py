"""One question of a tree, and its JSON object."""

import dataclasses

import pytest

from alservice.errors import BadTree
from alservice.science.tree import Question, parse_question

BAR = Question(
    name="bar",
    text="Is there a bar?",
    answers=("strong", "weak", "no"),
    labels=("Strong", "Weak", "None"),
    parents=("disk-edge-on_no",),
    task="T4",
    task_answers=("no", "weak", "strong"),
)
BAR_OBJECT = {
    "name": "bar",
    "text": "Is there a bar?",
    "task": "T4",
    "parents": ["disk-edge-on_no"],
    "answers": [
        {"name": "strong", "label": "Strong"},
        {"name": "weak", "label": "Weak"},
        {"name": "no", "label": "None"},
    ],
    "task_answers": ["no", "weak", "strong"],
}


def test_a_question_is_read_from_its_object():
    """Every field of the JSON object arrives under its name, and columns join question and answer."""
    assert parse_question(BAR_OBJECT, where="question 3") == BAR
    assert BAR.columns == ("bar_strong", "bar_weak", "bar_no")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Bar"}, "question name 'Bar' is not lower-case"),
        ({"name": "bar_type"}, "question name 'bar_type' is not lower-case"),
        ({"name": ""}, "question name '' is not lower-case"),
        ({"name": "bar-"}, "question name 'bar-' is not lower-case"),
        ({"answers": ("strong", "very_weak", "no")}, "'bar': answer name 'very_weak' is not lower-case"),
        ({"answers": ("weak", "weak", "no")}, "'bar': answer 'weak' is given twice"),
        (
            {"answers": ("no",), "labels": ("No",), "task_answers": ("no",)},
            "'bar' needs at least two answers",
        ),
        ({"labels": ("Strong", "Weak")}, "'bar' needs one label per answer"),
        ({"task_answers": ("no", "weak")}, "'bar': task_answers .* are not a permutation"),
        ({"task_answers": ("no", "weak", "weak")}, "'bar': task_answers .* are not a permutation"),
        ({"task_answers": ("no", "weak", "strong", "weak")}, "'bar': task_answers .* are not a permutation"),
        ({"task": "4"}, "'bar': Panoptes task '4' is not like 'T0'"),
        (
            {"parents": ("disk-edge-on_no", "disk-edge-on_no")},
            "'bar': parent 'disk-edge-on_no' is given twice",
        ),
    ],
)
def test_a_broken_question_is_refused_by_name(change: dict[str, object], message: str):
    """Names, answers, labels, Panoptes order and parents are checked whenever a question is made."""
    with pytest.raises(BadTree, match=message):
        dataclasses.replace(BAR, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"note": "x"}, r"question 3: missing fields \[\], unknown fields \['note'\]"),
        ({"text": ""}, "question 3 text must be a non-empty string, not ''"),
        ({"name": 7}, "question 3 name must be a non-empty string, not 7"),
        ({"parents": "disk-edge-on_no"}, "question 3 parents must be a list, not 'disk-edge-on_no'"),
        ({"parents": None}, "question 3 parents must be a list, not None"),
        ({"task_answers": [1]}, "question 3 task_answers must be a non-empty string, not 1"),
        ({"answers": ["strong", "weak"]}, "question 3 answers must be a list of objects"),
        ({"answers": [{"name": "no"}]}, r"question 3 answer: missing fields \['label'\]"),
    ],
)
def test_a_broken_object_is_refused_by_place(change: dict[str, object], message: str):
    """A missing, unknown or mistyped field is named together with the question's place in its file."""
    with pytest.raises(BadTree, match=message):
        parse_question({**BAR_OBJECT, **change}, where="question 3")


def test_a_missing_field_is_not_filled():
    """A question without parents must say so: nothing is assumed."""
    item = {key: value for key, value in BAR_OBJECT.items() if key != "parents"}
    with pytest.raises(BadTree, match=r"question 3: missing fields \['parents'\]"):
        parse_question(item, where="question 3")

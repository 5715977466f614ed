"""Question trees: the packaged ones, the rules, and the probability of being asked."""

import copy
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alservice.errors import BadTree, BadVotes, NotFound
from alservice.science.tree import Question, Tree, load_tree, parse_tree, tree_names
from tests.support.shared import shared_data

GOLDEN = json.loads((Path(__file__).parent / "data" / "tree_hashes.json").read_text())
KADE_TREES = (
    "gz-cosmic-dawn",
    "gz-decals-dr5",
    "gz-decals-dr8",
    "gz-desi",
    "gz-euclid",
    "gz-jwst",
    "gz-jwst-cosmos",
)
KADE_TASKS = {
    "T0": "smooth-or-featured",
    "T1": "how-rounded",
    "T2": "disk-edge-on",
    "T3": "edge-on-bulge",
    "T4": "bar",
    "T5": "has-spiral-arms",
    "T6": "spiral-winding",
    "T7": "spiral-arm-count",
    "T8": "bulge-size",
    "T11": "merging",
}
KADE_CLOSING_TASKS = {
    "gz-cosmic-dawn": {"T12": "lensing", "T13": "clumps", "T14": "problem", "T15": "artifact"},
    "gz-euclid": {"T12": "lensing", "T13": "clumps", "T14": "problem", "T15": "artifact"},
    "gz-jwst": {"T12": "clumps", "T19": "problem"},
    "gz-jwst-cosmos": {"T12": "clumps", "T19": "problem"},
}

Walk = dict[str, str]
"""One volunteer's answers: question to answer; a question not asked is absent."""


def walks(questions: tuple[Question, ...], walk: Walk | None = None) -> Iterator[Walk]:
    """Yield every possible walk by following parents by name, apart from the code under test."""
    walk = walk or {}
    if not questions:
        yield walk
        return
    question, *rest = questions
    asked = not question.parents or any(tuple(p.split("_")) in walk.items() for p in question.parents)
    for answer in question.answers if asked else [None]:
        yield from walks(tuple(rest), {**walk, question.name: answer} if answer else walk)


@cache
def walk_columns(tree: Tree) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return all walks as masks: answers chosen (W, A) and questions asked (W, Q)."""
    everything = list(walks(tree.questions))
    chosen = [[walk.get(q.name) == answer for q in tree.questions for answer in q.answers] for walk in everything]
    asked = [[q.name in walk for q in tree.questions] for walk in everything]
    return np.array(chosen), np.array(asked)


def enumerated_asked_probability(tree: Tree, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return P(asked) as the sum over all walks of their probability."""
    chosen, asked = walk_columns(tree)
    return np.where(chosen, probabilities, 1).prod(axis=1) @ asked


@st.composite
def answer_probabilities(draw: st.DrawFn, tree: Tree) -> npt.NDArray[np.float64]:
    """Answer probabilities (A,) that sum to 1 per question, zeros and ones included."""
    parts = []
    for question in tree.questions:
        size = len(question.answers)
        weights = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any))
        parts.append(np.array(weights) / sum(weights))
    return np.concatenate(parts)


@st.composite
def small_questions(draw: st.DrawFn) -> tuple[Question, ...]:
    """Two to five binary questions in order, with any earlier answers as parents: often ambiguous."""
    questions: list[Question] = []
    for index in range(draw(st.integers(2, 5))):
        earlier = [column for question in questions for column in question.columns]
        parents = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        questions.append(small_question(f"q{index}", parents, task=f"T{index}"))
    return tuple(questions)


def small_question(name: str, parents: list[str], task: str) -> Question:
    """Return a yes-no question."""
    return Question(
        name=name,
        text="?",
        answers=("yes", "no"),
        labels=("Yes", "No"),
        parents=tuple(parents),
        task=task,
        task_answers=("yes", "no"),
    )


def gz2_document() -> dict[str, Any]:
    """Return a tree document that tests may break."""
    questions = [
        {
            "name": question.name,
            "text": question.text,
            "task": question.task,
            "parents": list(question.parents),
            "answers": [
                {"name": n, "label": label} for n, label in zip(question.answers, question.labels, strict=True)
            ],
            "task_answers": list(question.task_answers),
        }
        for question in load_tree("gz2").questions
    ]
    return copy.deepcopy({"name": "gz2", "source": "test", "notes": [], "questions": questions})


def test_gz2_has_the_published_questions():
    """GZ2 has 11 questions and 37 answers under the names that users rely on."""
    tree = load_tree("gz2")
    assert (tree.n_questions, tree.n_answers) == (11, 37)
    assert {"smooth-or-featured_featured-or-disk", "odd-feature_lens-or-arc"} <= set(tree.columns)
    assert tree.slices[tree.index("odd-feature")] == slice(18, 25)
    assert tree.column("odd-feature_ring") == 18


@pytest.mark.parametrize("name", tree_names())
def test_packaged_tree_keeps_its_label_schema(name: str):
    """Size and hash of every packaged tree are those on record: a change of meaning is a decision, not an accident."""
    tree = load_tree(name)
    assert tree.name == name
    assert {"questions": tree.n_questions, "answers": tree.n_answers, "hash": tree.hash} == GOLDEN[name]


def test_every_survey_has_a_tree():
    """The golden file and the package hold the same trees, and an unknown name lists them."""
    assert set(tree_names()) == set(GOLDEN)
    with pytest.raises(BadTree, match=r"unknown tree 'gz3'; known trees: gz-candels, .*, gz2$"):
        load_tree("gz3")


@pytest.mark.parametrize("name", tree_names())
def test_columns_slices_and_indices_agree(name: str):
    """Each answer column is found in the slice of its own question, by name and by index."""
    tree = load_tree(name)
    assert len(tree.columns) == len(set(tree.columns)) == tree.n_answers
    for index, question in enumerate(tree.questions):
        assert tree.index(question.name) == index
        assert tree.question(question.name) is question
        assert tree.columns[tree.slices[index]] == question.columns
        assert [tree.column(column) for column in question.columns] == list(range(tree.n_answers))[tree.slices[index]]
        assert (tree.question_of_answer[tree.slices[index]] == index).all()
        assert {tree.columns[parent] for parent in tree.parents_of[index]} == set(question.parents)
    assert tree.question_of_answer.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        tree.question_of_answer[0] = 1


@pytest.mark.parametrize(
    ("lookup", "name"), [("index", "bars"), ("question", "bars"), ("column", "bar"), ("column", "bar_maybe")]
)
def test_an_unknown_name_is_named(lookup: str, name: str):
    """Asking a tree for something it does not hold names both."""
    with pytest.raises(NotFound, match=f"'gz2' has no (question|answer column) '{name}'"):
        getattr(load_tree("gz2"), lookup)(name)


@pytest.mark.parametrize("name", tree_names())
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_asked_probability_is_the_sum_over_all_walks(name: str, data: st.DataObject):
    """P(asked) equals the enumeration of every walk through every packaged tree."""
    tree = load_tree(name)
    probabilities = data.draw(answer_probabilities(tree))
    expected = enumerated_asked_probability(tree, probabilities)
    np.testing.assert_allclose(tree.asked_probability(probabilities), expected, rtol=0, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(questions=small_questions(), data=st.data())
def test_a_tree_is_ambiguous_exactly_when_walks_say_so(questions: tuple[Question, ...], data: st.DataObject):
    """Trees are refused iff two parents can both be chosen and neither implies the other; else P(asked) is exact."""
    everything = [{f"{q}_{a}" for q, a in walk.items()} for walk in walks(questions)]

    def overlap(a: str, b: str) -> bool:
        patterns = {(a in walk, b in walk) for walk in everything}
        return patterns >= {(True, True), (True, False), (False, True)}

    if any(overlap(a, b) for q in questions for a, b in itertools.combinations(q.parents, 2)):
        with pytest.raises(BadTree, match="ambiguous"):
            Tree(name="small", questions=questions)
        return
    tree = Tree(name="small", questions=questions)
    probabilities = data.draw(answer_probabilities(tree))
    expected = enumerated_asked_probability(tree, probabilities)
    np.testing.assert_allclose(tree.asked_probability(probabilities), expected, rtol=0, atol=1e-12)


def test_nested_parents_count_once():
    """A parent inside another parent adds no walk: P(asked) is that of the outer one."""
    tree = Tree(
        name="nested",
        questions=(
            small_question("a", [], "T0"),
            small_question("b", ["a_yes"], "T1"),
            small_question("c", ["a_yes", "b_no"], "T2"),
        ),
    )
    assert tree.parents_of == ((), (0,), (0,))
    np.testing.assert_allclose(tree.asked_probability(np.array([0.5, 0.5, 0.3, 0.7, 1, 0])), [1, 0.5, 0.5])


@given(shape=st.lists(st.integers(0, 3), max_size=3), seed=st.integers(0, 99))
def test_asked_probability_works_for_any_leading_shape(shape: list[int], seed: int):
    """Leading axes are independent galaxies or draws, and the floating type is kept."""
    tree = load_tree("gz2")
    probabilities = np.random.default_rng(seed).random((*shape, tree.n_answers), dtype=np.float32)
    asked = tree.asked_probability(probabilities)
    assert asked.shape == (*shape, tree.n_questions)
    assert asked.dtype == np.float32
    for index in np.ndindex(*shape):
        np.testing.assert_array_equal(asked[index], tree.asked_probability(probabilities[index]))


def test_what_is_not_recorded_stays_unknown():
    """A NaN probability makes the questions below it NaN, unless nobody can get there."""
    tree = load_tree("gz2")
    probabilities = np.full(tree.n_answers, 0.5)
    probabilities[tree.slices[tree.index("disk-edge-on")]] = np.nan
    below = [tree.index(q) for q in ("bar", "has-spiral-arms", "bulge-size", "edge-on-bulge", "spiral-winding")]
    asked = tree.asked_probability(probabilities)
    assert np.isnan(asked[below]).all()
    assert asked[tree.index("disk-edge-on")] == 0.5
    probabilities[tree.column("smooth-or-featured_featured-or-disk")] = 0
    assert (tree.asked_probability(probabilities)[below] == 0).all()


@pytest.mark.parametrize("shape", [(), (36,), (37, 2), (3, 38)])
def test_probabilities_of_another_tree_are_refused(shape: tuple[int, ...]):
    """An array whose last axis is not the tree's answers is refused with its shape."""
    with pytest.raises(BadVotes, match=re.escape(f"'gz2' has 37 answer columns; an array {shape} does not")):
        load_tree("gz2").asked_probability(np.ones(shape))


@pytest.mark.parametrize(
    ("name", "question", "parents"),
    [
        ("gz2", "bar", {"disk-edge-on_no"}),
        ("gz2", "has-spiral-arms", {"disk-edge-on_no"}),
        ("gz2", "bulge-size", {"disk-edge-on_no"}),
        ("gz2", "edge-on-bulge", {"disk-edge-on_yes"}),
        ("gz2", "odd-feature", {"something-odd_yes"}),
        ("gz-hubble", "spiral-winding", {"has-spiral-arms_yes"}),
        ("gz-hubble", "spiral-arm-count", {"has-spiral-arms_yes"}),
        ("gz-candels", "spiral-winding", {"has-spiral-arms_yes"}),
        ("gz-candels", "spiral-arm-count", {"has-spiral-arms_yes"}),
        ("gz-cosmic-dawn", "lensing", {"smooth-or-featured_smooth", "smooth-or-featured_featured-or-disk"}),
        ("gz-euclid", "artifact", {"problem_artifact"}),
    ],
)
def test_loose_facts_of_older_schemas_are_corrected(name: str, question: str, parents: set[str]):
    """Parents are those of the question that volunteers saw, not those of older schema files."""
    assert set(load_tree(name).question(question).parents) == parents


@pytest.mark.parametrize("name", [n for n in tree_names() if n != "gz-rings"])
def test_nothing_about_the_galaxy_is_asked_after_an_artifact(name: str):
    """Whoever says star or artifact is asked at most what the problem is; everyone else meets the closing questions."""
    tree = load_tree(name)
    chosen, asked = walk_columns(tree)
    artifact = tree.slices[0].stop - 1
    about_the_image = {"problem", "artifact"}
    closing = {"merging", "something-odd", "lensing"}
    for index, question in enumerate(tree.questions[1:], start=1):
        if question.name not in about_the_image:
            assert not asked[chosen[:, artifact], index].any(), question.name
        if question.name in closing:
            assert asked[~chosen[:, artifact], index].all(), question.name


@pytest.mark.parametrize("name", KADE_TREES)
def test_panoptes_order_is_the_deployed_one(name: str):
    """Task keys and answer order are those under which KaDE receives votes, which is not the tree's order."""
    tree = load_tree(name)
    tasks = {**KADE_TASKS, **KADE_CLOSING_TASKS.get(name, {})}
    if name == "gz-jwst-cosmos":
        del tasks["T1"]
    assert {question.task: question.name for question in tree.questions} == tasks
    assert tree.question("edge-on-bulge").task_answers == ("rounded", "boxy", "none")
    assert tree.question("bar").task_answers == ("no", "weak", "strong")
    assert tree.question("bulge-size").task_answers == ("none", "small", "moderate", "large", "dominant")
    assert tree.question("merging").task_answers == (
        "merger",
        "major-disturbance",
        "minor-disturbance",
        "none",
    )


def test_euclid_numbers_one_more_artifact():
    """Artifacts come in KaDE's order, to which Euclid adds ghosts."""
    order = ("saturation", "diffraction", "satellite", "ray", "scattered", "other")
    assert load_tree("gz-cosmic-dawn").question("artifact").task_answers == order
    assert load_tree("gz-euclid").question("artifact").task_answers == (*order, "ghost")


def test_decals_tree_is_the_real_workflow():
    """Texts, labels, answer order and flow of `gz-decals-dr5` are those of the real Panoptes workflow 66.425."""
    workflow = json.loads((shared_data() / "exports" / "gz_decals_workflow_version_66.425.json").read_text())
    strings, tree = workflow["strings"], load_tree("gz-decals-dr5")

    def label(key: str) -> str:
        return " ".join(re.sub(r"!\[.*?\]\(.*?\)", "", strings[key]).split())

    for question in tree.questions:
        task = workflow["tasks"][question.task]
        labels = dict(zip(question.answers, question.labels, strict=True))
        assert question.text == strings[task["question"]]
        assert [labels[answer] for answer in question.task_answers] == [label(a["label"]) for a in task["answers"]]

    by_task = {question.task: question for question in tree.questions}

    def real_walks(task: str | None, walk: Walk) -> Iterator[Walk]:
        if task not in by_task:  # the end, or T10, which is not part of the tree
            yield walk
            return
        question = by_task[task]
        for answer, real in zip(question.task_answers, workflow["tasks"][task]["answers"], strict=True):
            yield from real_walks(real.get("next"), {**walk, question.name: answer})

    expected = {frozenset(walk.items()) for walk in real_walks(workflow["first_task"], {})}
    assert {frozenset(walk.items()) for walk in walks(tree.questions)} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["questions"][0].update(parents=["bar_yes"]), r"the tree is cyclic: .*bar"),
        (lambda d: d["questions"][2].update(parents=["bar_no"]), r"the tree is cyclic: bar -> bar"),
        (
            lambda d: d["questions"][2].update(parents=["disk_no"]),
            r"'bar' is orphaned: there is no answer 'disk_no'",
        ),
        (lambda d: d["questions"].pop(1), r"'bar' is orphaned: there is no answer 'disk-edge-on_no'"),
        (
            lambda d: d["questions"].insert(0, d["questions"].pop(1)),
            r"'disk-edge-on' stands before its parent 'smooth-or-featured'",
        ),
        (
            lambda d: d["questions"][7].update(parents=["something-odd_yes", "has-spiral-arms_yes"]),
            r"'odd-feature' is ambiguous: .* 'something-odd_yes' and 'has-spiral-arms_yes'",
        ),
        (lambda d: d["questions"].append(d["questions"][2]), r"ambiguous: question 'bar' is given twice"),
        (lambda d: d["questions"][2].update(task="T1"), r"ambiguous: Panoptes task 'T1' is given twice"),
        (
            lambda d: d["questions"][2].update(task_answers=["yes", "y"]),
            r"'bar': task_answers .* not a permutation",
        ),
        (lambda d: d["questions"][2].update(name="Bar"), r"question name 'Bar' is not lower-case"),
        (lambda d: d.update(questions=[]), r"tree 'gz2' is empty: it has no questions"),
        (lambda d: d.update(questions={}), r"questions must be a list of objects, not \{\}"),
        (lambda d: d.update(name="GZ2"), r"tree name 'GZ2' is not lower-case"),
        (lambda d: d.update(notes="none"), r"notes must be a list, not 'none'"),
        (lambda d: d.update(version=2), r"tree: missing fields \[\], unknown fields \['version'\]"),
        (lambda d: d.pop("source"), r"tree: missing fields \['source'\], unknown fields \[\]"),
    ],
)
def test_a_broken_tree_is_refused_by_name(change: Any, message: str):
    """A document that breaks a rule is refused with its source, the question and the rule."""
    document = gz2_document()
    change(document)
    with pytest.raises(BadTree, match=r"mine\.json: .*" + message):
        parse_tree(document, source="mine.json")


def test_a_document_makes_the_same_tree():
    """Parsing what a tree says of itself gives the tree back."""
    assert parse_tree(gz2_document(), source="test") == load_tree("gz2")


def test_the_hash_follows_meaning_only():
    """Names, order and parents change the hash; words for people, Panoptes keys and the tree's name do not."""
    tree = load_tree("gz2")
    head, *tail = tree.questions

    def hash_with(**change: Any) -> str:
        return Tree(name="other", questions=(dataclasses.replace(head, **change), *tail)).hash

    same = [
        hash_with(text="?"),
        hash_with(labels=("a", "b", "c")),
        hash_with(task="T99"),
        hash_with(task_answers=head.task_answers[::-1]),
        dataclasses.replace(
            tree, questions=tuple(dataclasses.replace(q, parents=q.parents[::-1]) for q in tree.questions)
        ).hash,
    ]
    assert set(same) == {tree.hash}
    different = [
        hash_with(answers=head.answers[::-1], task_answers=head.answers),
        dataclasses.replace(tree, questions=tree.questions[:-1]).hash,
        dataclasses.replace(tree, questions=(*tree.questions[:-1], dataclasses.replace(tail[-1], name="arms"))).hash,
        dataclasses.replace(
            tree, questions=(*tree.questions[:-1], dataclasses.replace(tail[-1], parents=("bar_yes",)))
        ).hash,
        dataclasses.replace(tree, questions=(*tree.questions[:-2], tail[-1], tail[-2])).hash,
    ]
    assert len({tree.hash, *different}) == 1 + len(different)

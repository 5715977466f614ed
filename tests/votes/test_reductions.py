"""Reductions: strict about what can be counted, and the same whatever order they come in."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.campaigns.policies import LabelRule, check_webhook_key
from alservice.errors import BadInput
from alservice.science.tree import Tree, load_tree
from alservice.votes.caesar import BadReduction, ReductionReader, parse_reduction, split_key
from alservice.votes.decoding import read_version
from alservice.zooniverse.workflow import AnswerMap, Workflow, tasks_of

TREE = load_tree("gz2")


def payload(**changes: object) -> dict[str, object]:
    """Return what KaDE is sent: integer ids, the subject with its metadata, no subgroup."""
    made = {
        "id": 7001,
        "reducible": {"id": 10, "type": "Workflow"},
        "data": {"0": 3, "1": 9, "": 1},
        "subject": {"id": 100, "metadata": {"!filename": "a.png"}, "created_at": "x", "updated_at": "y"},
        "reducer_key": "T0_stats",
        "created_at": "2026-01-01T10:00:00.000Z",
        "updated_at": "2026-01-01T11:00:00.123Z",
    }
    return deepcopy({**made, **changes})


def version(**labels: list[str]) -> AnswerMap:
    """Return the meaning of the tree's own workflow, some tasks in other words."""
    tasks = deepcopy(tasks_of(TREE))
    for task, words in labels.items():
        tasks[task]["answers"] = [{"label": word} for word in words]
    return read_version(TREE, Workflow(workflow_id=10, version="1.1", tasks=tasks))


def read(
    *documents: dict[str, object], maps: tuple[AnswerMap, ...] = (version(),), galaxy: str | None = "g", **options
):
    """Return the tallies of one galaxy's reductions."""
    reader = ReductionReader(tree=TREE, maps=maps, **options)
    return reader.tallies((galaxy, parse_reduction(document, task=None)) for document in documents)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", [int, str])
def test_bare_or_wrapped_with_ids_of_either_kind_is_the_same(wrapped: bool, kind: type) -> None:
    """KaDE takes both, so do we."""
    given = payload(id=kind(7001), reducible={"id": kind(10), "type": "Workflow"}, subject={"id": kind(100)})
    parsed = parse_reduction({"reduction": given} if wrapped else given, task="T0")
    assert (parsed.reduction_id, parsed.workflow_id, parsed.zooniverse_subject_id) == (7001, 10, 100)
    assert (parsed.task, parsed.counts, parsed.votes) == ("T0", {"0": 3, "1": 9, "": 1}, 13)
    assert parsed.updated_at == datetime(2026, 1, 1, 11, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": None}, "id"),
        ({"id": True}, "id"),
        ({"id": 1.0}, "id"),
        ({"id": "٣"}, "id"),
        ({"id": 2**63}, "id"),
        ({"reducible": None}, "reducible"),
        ({"reducible": {"id": 10, "type": "Project"}}, "reducible.type"),
        ({"reducible": {"id": -1, "type": "Workflow"}}, "reducible.id"),
        ({"subject": {}}, "subject.id"),
        ({"subject": [100]}, "subject"),
        ({"reducer_key": ""}, "reducer_key"),
        ({"reducer_key": "a\0_t0"}, "reducer_key"),
        ({"reducer_key": "galaxies"}, "reducer_key"),
        ({"reducer_key": "T0_or_T1"}, "reducer_key"),
        ({"data": None}, "data"),
        ({"data": {"classifications": 5, "extracts": 5}}, "data"),
        ({"data": {str(i): 1 for i in range(101)}}, "data"),
        ({"data": {"0": -1}}, "data.0"),
        ({"data": {"0": 1.5}}, "data.0"),
        ({"data": {"0": True}}, "data.0"),
        ({"data": {"0": "3"}}, "data.0"),
        ({"subgroup": "left half"}, "subgroup"),
        ({"updated_at": None}, "updated_at"),
        ({"updated_at": "yesterday"}, "updated_at"),
        ({"updated_at": "2026-01-01T11:00:00"}, "updated_at"),
    ],
)
def test_what_cannot_be_counted_names_its_field(changes: dict[str, object], field: str) -> None:
    """Absent, mistyped or of another kind of reducer: refused, with the field as evidence."""
    with pytest.raises(BadReduction) as refusal:
        parse_reduction(payload(**changes), task=None)
    assert refusal.value.evidence["field"] == field


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"0": 3, "1": 9, "aggregation_version": "4.1.0"}, {"0": 3, "1": 9}),
        ({"0": 3, "user_ids_0": [7, None, 8], "aggregation_version": "4.1.0"}, {"0": 3}),
        ({"smooth": 3, "None": 2, "user_ids_None": [7, 8], "aggregation_version": "4.1.0"}, {"smooth": 3, "": 2}),
        ({str(i): 1 for i in range(100)} | {"aggregation_version": "4.1.0"}, {str(i): 1 for i in range(100)}),
        ({"aggregation_version": "4.1.0"}, {}),
    ],
)
def test_what_external_reducers_send_beside_counts_is_set_aside_by_name(data: dict, counts: dict) -> None:
    """Kind: companions of counts that are no counts. A version, and who answered what, which is not kept."""
    parsed = parse_reduction(payload(data=data), task="T0")
    assert (parsed.counts, parsed.votes) == (counts, sum(counts.values()))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"0": 3, "aggregation_versions": "4.1.0"}, "data.aggregation_versions"),
        ({"0": 3, "aggregation_version": 4}, "data.aggregation_version"),
        ({"0": 3, "user_ids_1": [7], "aggregation_version": "4.1.0"}, "data.user_ids_1"),
        ({"0": 3, "user_ids_0": "7", "aggregation_version": "4.1.0"}, "data.user_ids_0"),
        ({"0": 3, "user_ids_0": [7]}, "data.user_ids_0"),
        ({"0": 3, "parameters": {"pairs": False}}, "data.parameters"),
        ({"num_votes": 3, "most_likely": "0", "agreement": 1.0, "aggregation_version": "4.1.0"}, "data.most_likely"),
        ({"classifications": 3, "aggregation_version": "4.1.0"}, "data"),
    ],
)
def test_a_companion_that_is_not_known_is_refused_by_name(data: dict, field: str) -> None:
    """Kind: what stands beside counts under another name, of another type, or of an answer that is not there."""
    with pytest.raises(BadReduction) as refusal:
        parse_reduction(payload(data=data), task="T0")
    assert refusal.value.evidence["field"] == field


def test_none_is_an_answer_where_no_external_reducer_wrote_it() -> None:
    """Only with its version beside it does an external reducer's "None" stand for a null answer."""
    assert parse_reduction(payload(data={"None": 2}), task="T0").counts == {"None": 2}


@pytest.mark.parametrize("body", [None, [], "x", {"reduction": 3}, {"reduction": {}}])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    """Anything but a reduction is refused before it is looked into."""
    with pytest.raises(BadReduction):
        parse_reduction(body, task="T0")


def test_address_and_reducer_must_name_one_task() -> None:
    """KaDE's address names it; a reducer's key that names another is somebody's mistake."""
    assert parse_reduction(payload(reducer_key="stats"), task="T4").task == "T4"
    assert parse_reduction(payload(reducer_key="galaxy_zoo_t4"), task=None).task == "T4"
    with pytest.raises(BadReduction, match="2 tasks"):
        parse_reduction(payload(reducer_key="T0_stats"), task="T4")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("galaxy_zoo_jwst_cosmos_t0", ("galaxy_zoo_jwst_cosmos", "T0")),
        ("gz-2_T11", ("gz-2", "T11")),
        ("gz_init", ("gz", "init")),
        ("gz2", ("gz2", None)),
        ("_t0", ("_t0", None)),
    ],
)
def test_an_address_is_a_webhook_and_a_task(address: str, parts: tuple[str, str | None]) -> None:
    """The task is what stands after the last underscore, if it is one."""
    assert split_key(address) == parts


@pytest.mark.parametrize("key", ["", "A", "gz t0", "gz_t0", "-gz", "ö", "x" * 101])
def test_a_webhook_key_is_plain_and_ends_in_no_task(key: str) -> None:
    """A key that could not be told from an address with a task is refused."""
    with pytest.raises(BadInput):
        check_webhook_key(key)
    assert check_webhook_key("galaxy_zoo_euclid") == "galaxy_zoo_euclid"


def test_counts_become_columns_by_number_and_null_ones_are_no_votes() -> None:
    """Answer 0 of the task is what the workflow's version says it is."""
    found = read(payload())
    smooth, featured = TREE.column("smooth-or-featured_smooth"), TREE.column("smooth-or-featured_featured-or-disk")
    assert found.unread == {}
    assert found.tallies.counts[0, smooth] == 3
    assert found.tallies.counts[0, featured] == 9
    assert found.tallies.n_votes == 12


def test_a_number_is_never_read_as_a_label() -> None:
    """Key 1 of the arms is the second answer, although the first one is worded "1"."""
    task = next(question for question in TREE.questions if question.name == "spiral-arm-count")
    found = read(payload(reducer_key=f"{task.task}_stats", data={"1": 5}))
    column = TREE.column(f"spiral-arm-count_{task.task_answers[1]}")
    assert found.tallies.counts[0, column] == 5


def test_labels_are_read_as_people_read_them() -> None:
    """Aggregation that keys on labels, images and all, is understood."""
    assert read(payload(data={"![i](https://x/y.png) **Smooth**": 4})).tallies.n_votes == 4


@pytest.mark.parametrize(
    ("document", "options", "reason"),
    [
        (payload(data={"9": 1}), {}, "answer '9' is not one of its own"),
        (payload(reducer_key="T77"), {}, "task T77 is not read"),
        (payload(), {"maps": ()}, "no workflow version"),
        (payload(), {"galaxy": None}, "unknown subject"),
        (payload(), {"maps": (version(), version(T0=["Star or artifact", "Smooth"]))}, "changed its meaning"),
    ],
)
def test_what_has_no_meaning_is_counted_as_unread(document, options, reason: str) -> None:
    """No vote is guessed: the whole reduction stays out, with its reason."""
    found = read(document, **options)
    assert found.tallies.n_votes == 0
    assert [reason in text for text in found.unread] == [True]
    assert sum(found.unread.values()) == 1


def test_two_reducers_of_a_task_are_never_added() -> None:
    """Neither is counted until the campaign names one."""
    both = payload(), payload(reducer_key="T0_all")
    assert read(*both).tallies.n_votes == 0
    assert sum(read(*both).unread.values()) == 2
    named = read(*both, reducers=frozenset({"T0_all"}))
    assert (named.tallies.n_votes, named.unread) == (12, {})


def test_counts_of_boxes_are_not_read() -> None:
    """Who left a box empty is in no reduction: no vote of such a task is counted, and the reason is told."""
    box = replace(TREE.question("bar"), name="ring", choice="Ring", parents=(), answers=("yes", "no"), task="T40")
    tree = Tree(name="boxes", questions=(TREE.questions[0], replace(box, task_answers=("yes", "no"))))
    meaning = read_version(tree, Workflow(workflow_id=10, version="1.1", tasks=tasks_of(tree)))
    reader = ReductionReader(tree=tree, maps=(meaning,))
    found = reader.tallies([("g", parse_reduction(payload(reducer_key="T40_stats", data={"0": 3}), task="T40"))])
    assert found.tallies.n_votes == 0
    assert list(found.unread) == ["task T40 takes several answers: reductions do not say how many left a box empty"]


def test_an_ignored_task_is_no_fault() -> None:
    """What the campaign ignores by name is left aside without a word."""
    rules = [LabelRule(task="T0", ignored=True)]
    map_ = read_version(TREE, Workflow(workflow_id=10, version="1.1", tasks=tasks_of(TREE)), rules)
    found = read(payload(), maps=(map_,))
    assert (found.tallies.n_votes, found.unread) == (0, {})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=8))
def test_any_two_deliveries_are_ranked(deliveries: list[tuple[int, int, int]]) -> None:
    """Rank is a total order up to equality, so that one of all deliveries is the greatest in any order."""
    parsed = [
        parse_reduction(payload(updated_at=f"2026-01-01T11:00:0{s}Z", data={"0": a, "1": b}), task=None)
        for s, a, b in deliveries
    ]
    assert max(parsed, key=lambda r: r.rank).rank == max(reversed(parsed), key=lambda r: r.rank).rank
    assert max(parsed, key=lambda r: r.rank).updated_at == max(r.updated_at for r in parsed)

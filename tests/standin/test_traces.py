"""The contract: traces T1 to T14 with the real client, call by call, against the golden file.

Set ``ALSERVICE_REWRITE_GOLDEN=1`` to write ``data/traces.json`` anew, and review the difference.
"""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from panoptes_client import Classification, Panoptes, Project, Subject, SubjectSet, Workflow
from panoptes_client.panoptes import PanoptesAPIException

from alservice.standin.server import Standin
from tests.standin.support import (
    CLIENT_ID,
    CLIENT_SECRET,
    JPEG,
    OWNER,
    PASSWORD,
    Api,
    Launch,
    as_owner,
    ask,
)

GOLDEN = Path(__file__).parent / "data" / "traces.json"
Calls = list[dict[str, Any]]


def connect(standin: Standin) -> Panoptes:
    """Return a client with its first token, as the traces presume one."""
    client = Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD)
    client.get_bearer_token()
    return client


def new_subject(name: str = "a.jpg", key: str = "J1") -> Subject:
    """Return an unsaved subject with one image."""
    subject = Subject()
    subject.links.project = 1
    subject.metadata["!filename"] = name
    subject.metadata["#id"] = key
    subject.add_location(io.BytesIO(JPEG), manual_mimetype="image/jpeg")
    return subject


def new_set(display_name: str = "set A") -> SubjectSet:
    """Return a saved subject set."""
    subject_set = SubjectSet()
    subject_set.display_name = display_name
    subject_set.links.project = 1
    subject_set.save()
    return subject_set


def t1(standin: Standin, calls: Calls) -> None:
    """Log in by password, find the project by id and by slug."""
    Panoptes.connect(username=OWNER, password=PASSWORD, endpoint=standin.endpoint)
    assert Project.find(1).slug == "zoo/galaxy-zoo-local"
    assert Project.find(slug="Zoo/Galaxy-Zoo-Local").id == "1"


def t2(standin: Standin, calls: Calls) -> None:
    """Log in by client credentials."""
    client = Panoptes.connect(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, endpoint=standin.endpoint)
    assert Project.find(1).display_name == "Galaxy Zoo Local"
    assert client.logged_in_user_id is None


def t3(standin: Standin, calls: Calls) -> None:
    """Create a set, rename it with the ETag of its 201, read it."""
    with connect(standin):
        calls.clear()
        subject_set = new_set()
        assert subject_set.etag is not None
        subject_set.display_name = "set B"
        subject_set.save()
        assert subject_set.etag is None
        assert subject_set.display_name == "set B"


def t4(standin: Standin, calls: Calls) -> None:
    """Create a subject with its image, then change its metadata."""
    with connect(standin):
        calls.clear()
        subject = new_subject()
        subject.save()
        subject.metadata["ra"] = 1.5
        subject.save()


def t5(standin: Standin, calls: Calls) -> None:
    """Add three subjects to a set: one membership call each before the one that links."""
    with connect(standin):
        subject_set, subjects = new_set(), [new_subject() for _ in range(3)]
        for subject in subjects:
            subject.save()
        calls.clear()
        subject_set.add(subjects)


def t6(standin: Standin, calls: Calls) -> None:
    """Remove two subjects from a set."""
    with connect(standin):
        subject_set, subjects = new_set(), [new_subject() for _ in range(2)]
        for subject in subjects:
            subject.save()
        subject_set.add(subjects)
        calls.clear()
        subject_set.remove(subjects)


def t7(standin: Standin, calls: Calls) -> None:
    """Find a workflow, edit two attributes, save: only these travel."""
    ask(as_owner(standin))
    with connect(standin):
        calls.clear()
        workflow = Workflow.find(10)
        workflow.configuration = {"x": 1}
        workflow.retirement = {"criteria": "classification_count", "options": {"count": 3}}
        workflow.save()


def t8(standin: Standin, calls: Calls) -> None:
    """Generate an export, wait for it and download it."""
    with connect(standin):
        calls.clear()
        export = Project(1).get_export("classifications", generate=True)
        assert export.content.startswith(b"classification_id,user_name,")
        assert export.headers["Content-Type"] == "text/csv"


def t9(standin: Standin, calls: Calls) -> None:
    """Read classifications by cursor and by page; both end with an empty page."""
    owner = as_owner(standin)
    ask(owner)
    subject = owner.new_subject()
    for _ in range(5):
        Api(standin).classify(subject)
    with connect(standin):
        calls.clear()
        rows = Classification.where(scope="project", project_id=1, last_id=500000001, page_size=2)
        assert [int(row.id) - 500000000 for row in rows] == [2, 3, 4, 5]
        rows = Classification.where(scope="project", project_id=1, page_size=2)
        assert [int(row.id) - 500000000 for row in rows] == [1, 2, 3, 4, 5]


def t10(standin: Standin, calls: Calls) -> None:
    """Retire two subjects, named once as text and once as a number."""
    owner = as_owner(standin)
    subjects = [owner.new_subject(), int(owner.new_subject())]
    with connect(standin):
        workflow = Workflow.find(10)
        calls.clear()
        assert workflow.retire_subjects(subjects, "other") is None


def t11(standin: Standin, calls: Calls) -> None:
    """Renew a token that is about to expire, then call."""
    with connect(standin) as client:
        client.bearer_expires = client.bearer_expires.replace(year=2000)
        calls.clear()
        Project.find(1)


def t12(standin: Standin, calls: Calls) -> None:
    """Filter subjects by metadata: the filter is ignored and everything comes back."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    owner.link(set_id, [owner.new_subject(**{"#id": name}) for name in ("J1", "J2")])
    with connect(standin):
        calls.clear()
        filters = {"metadata.#id": "J1"}
        assert len(list(Subject.where(subject_set_id=set_id, page_size=100, **filters))) == 2


def t13(standin: Standin, calls: Calls) -> None:
    """Save an object from a listing: its ETag is the listing's, so every try is refused."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    owner.link(set_id, [owner.new_subject()])
    with connect(standin):
        calls.clear()
        subject = next(Subject.where(subject_set_id=set_id))
        subject.metadata["seen"] = True
        with pytest.raises(PanoptesAPIException, match="PreconditionFailed"):
            subject.save()


def t14(standin: Standin, calls: Calls) -> None:
    """Find twice with credentials from the environment and no client: the whole login, twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTES_ENDPOINT", standin.endpoint)
        patch.setenv("PANOPTES_USERNAME", OWNER)
        patch.setenv("PANOPTES_PASSWORD", PASSWORD)
        Project.find(1)
        Project.find(1)


TRACES: dict[str, Callable[[Standin, Calls], None]] = {
    "T1": t1,
    "T2": t2,
    "T3": t3,
    "T4": t4,
    "T5": t5,
    "T6": t6,
    "T7": t7,
    "T8": t8,
    "T9": t9,
    "T10": t10,
    "T11": t11,
    "T12": t12,
    "T13": t13,
    "T14": t14,
}


def read_golden() -> dict[str, Calls]:
    """Return the golden traces."""
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", TRACES)
def test_the_client_leaves_the_golden_trace(name: str, launch: Launch, recorded: Calls) -> None:
    """The real client's calls and the stand-in's statuses are those of the contract."""
    standin = launch(first_subject_id=90_000_001)
    TRACES[name](standin, recorded)
    if os.environ.get("ALSERVICE_REWRITE_GOLDEN"):
        golden = {**(read_golden() if GOLDEN.exists() else {}), name: recorded}
        GOLDEN.write_text(json.dumps({key: golden[key] for key in TRACES if key in golden}, indent=1) + "\n")
    assert recorded == read_golden()[name]


def test_the_golden_file_holds_every_trace_of_the_contract() -> None:
    """No trace is missing from the golden file, and none is left over."""
    assert list(read_golden()) == [f"T{number}" for number in range(1, 15)]

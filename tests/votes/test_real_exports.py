"""Real exports of Zooniverse: Galaxy Zoo's decode to what a person reads off the definitions, others are refused."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from alservice.campaigns.campaign import Campaign, parse_campaign
from alservice.science.tree import load_tree
from alservice.votes.decoding import Codebook, read_workflows
from alservice.votes.exports import BadExport, ExportFile
from alservice.zooniverse.client import classification_of
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import map_answers
from tests.support.shared import ROOT, shared_data

GOLDEN = Path(__file__).parent / "data" / "gz_decals_answers.json"
TREE = load_tree("gz-decals-dr5")
OLD_MERGING = {
    "91178981": "neither",
    "91179088": "neither",
    "92342378": "neither",
    "92496727": "both",
    "92948312": "neither",
    "92948414": "neither",
}
"""What a person reads in the export's cells: classification to its one answer to the old merging question."""


@pytest.fixture
def exports() -> Path:
    """Return the folder of real exports."""
    return shared_data() / "exports"


def decals() -> Campaign:
    """Return the packaged campaign, on the workflow that the rows are of."""
    document = yaml.safe_load((ROOT / "deploy" / "campaigns" / "gz-decals-dr5.yaml").read_text(encoding="utf-8"))
    document["zooniverse"]["workflow_id"] = 6122
    return parse_campaign(document, source="gz-decals-dr5.yaml")


def export(path: Path, workflow_id: int = 6122) -> ExportFile:
    """Return an export as the service opens it."""
    latest = datetime(2027, 1, 1, tzinfo=UTC)
    return ExportFile(path=path, workflow_ids=frozenset({workflow_id}), user_hash_key=b"key", latest=latest)


def real_rows(exports: Path) -> Iterator[RawClassification]:
    """Yield the nine rows of the export and the ten of the API."""
    for batch in export(exports / "gz_decals_dr5_classifications.csv").batches():
        assert not batch.faults
        yield from batch.rows
    for line in (exports / "gz_api_classifications_raw.jsonl").read_text(encoding="utf-8").splitlines():
        yield classification_of(json.loads(line), b"key")


def test_real_rows_decode_to_what_a_person_reads(exports: Path) -> None:
    """Labels of seven versions and indexes of an eighth give the answers that the golden file shows."""
    versions = read_workflows(exports / "gz_decals_workflow_versions_24.json")
    codebook = Codebook(decals(), TREE, versions)
    rows = [codebook.decode(raw, "g") for raw in real_rows(exports)]
    assert [row.fault for row in rows] == [None] * 19
    decoded = {str(row.raw.classification_id): [TREE.columns[column] for column in row.answers] for row in rows}
    assert decoded == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_real_version_can_be_read(exports: Path) -> None:
    """With the campaign's rules no task of any version is left without a meaning."""
    versions = read_workflows(exports / "gz_decals_workflow_versions_24.json")
    assert len(versions) == 24
    codebook = Codebook(decals(), TREE, versions)
    assert {known.version: dict(known.unread) for known in codebook.maps()} == {
        version.version: {} for version in versions
    }
    alone = read_workflows(exports / "gz_decals_workflow_version_66.425.json")
    assert list(alone) == [version for version in versions if version.version == "66.425"]


def test_old_and_new_merging_questions_stand_side_by_side(exports: Path) -> None:
    """One tree, all real versions: until 66.405 T11 is the old question, in 66.425 the new one, by their labels."""
    document = asdict(decals())
    rules = [rule for rule in document["decoding"] if rule["task"] != "T11"]
    several = {"task": "T11", "versions": "44.73..46.77", "ignored": True}
    document |= {"tree": "gz-decals-dr5-mergers", "decoding": [*rules, several]}
    tree = load_tree("gz-decals-dr5-mergers")
    versions = read_workflows(exports / "gz_decals_workflow_versions_24.json")
    codebook = Codebook(parse_campaign(document, source="test"), tree, versions)
    assert {known.version: dict(known.unread) for known in codebook.maps()} == {
        version.version: {} for version in versions
    }
    asked = {
        answer_map.version: {tree.columns[column].partition("_")[0] for column in answer_map.columns["T11"]}
        for answer_map in codebook.maps()
        if "T11" not in answer_map.ignored
    }
    assert asked.pop("66.425") == {"merging"}
    assert len(asked) == 20
    assert set(map(tuple, asked.values())) == {("merging-or-debris",)}
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    merged = {}
    for raw in real_rows(exports):
        row = codebook.decode(raw, "g")
        columns = [tree.columns[column] for column in row.answers]
        number = str(raw.classification_id)
        assert row.fault is None
        assert [column for column in columns if not column.startswith("merging-or-debris")] == golden[number]
        merged[number] = [column for column in columns if column not in golden[number]]
    expected = {number: [f"merging-or-debris_{answer}"] for number, answer in OLD_MERGING.items()}
    assert {number: answers for number, answers in merged.items() if answers} == expected
    (newest,) = read_workflows(exports / "gz_decals_workflow_version_66.425.json")
    assert map_answers(tree, newest).columns["T11"][0] == tree.column("merging_merger")


def test_without_rules_the_drifted_rows_wait(exports: Path) -> None:
    """No label is guessed: what is not the tree's wording is a reason."""
    plain = Campaign(name="plain", tree="gz-decals-dr5", zooniverse=decals().zooniverse)
    codebook = Codebook(plain, TREE, read_workflows(exports / "gz_decals_workflow_versions_24.json"))
    faults = [codebook.decode(raw, "g").fault for raw in real_rows(exports)]
    assert None not in faults
    assert any("'star or artefact'" in fault for fault in faults if fault)


def test_a_version_is_text(exports: Path) -> None:
    """28.30 is known, 28.3 is another version."""
    codebook = Codebook(decals(), TREE, read_workflows(exports / "gz_decals_workflow_versions_24.json"))
    assert "28.30" in {known.version for known in codebook.maps()}
    assert "28.3" not in {known.version for known in codebook.maps()}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gz_decals_dr5_classifications_minimal.csv", "workflow_id"),
        ("gz_ouroboros_subjects.csv", "classification_id"),
        ("gz_decals_dr5_reduction_early.csv", "classification_id"),
        ("steller_watch_extracts.csv", "workflow_id"),
        ("galaxy_builder_classifications.csv", "metadata"),
        ("MANIFEST.csv", "classification_id"),
    ],
)
def test_other_tables_are_refused_by_name(exports: Path, name: str, missing: str) -> None:
    """What is no classification export says which columns it lacks."""
    with pytest.raises(BadExport, match=f"{name} is not a classification export.*{missing}"):
        list(export(exports / name).batches())


@pytest.mark.parametrize(
    ("name", "workflow_id", "rows"),
    [
        ("michigan_zoomin_classifications.csv", 2276, 500),
        ("wildcam_gorongosa_classifications.csv", 2649, 20),
        ("andromeda_project_classifications.csv", 3149, 63),
        ("fossil_finder_classifications.csv", 371, 41),
        ("survey_classifications.csv", 4994, 67),
        ("example_mixed_tasks_classifications.csv", 3130, 163),
    ],
)
def test_other_projects_rows_are_foreign(exports: Path, name: str, workflow_id: int, rows: int) -> None:
    """Every row of another project is told by its workflow, none is read."""
    batches = list(export(exports / name).batches())
    assert [(len(b.rows), len(b.faults), sum(b.foreign.values())) for b in batches] == [(0, 0, rows)]
    assert workflow_id in batches[0].foreign


def test_survey_and_drawing_answers_have_no_meaning(exports: Path) -> None:
    """Even as the campaign's own workflow, rows of unknown versions wait with their reason."""
    codebook = Codebook(decals(), TREE, read_workflows(exports / "gz_decals_workflow_versions_24.json"))
    (batch,) = export(exports / "survey_classifications.csv", 4994).batches()
    assert all(str(codebook.decode(raw, "g").fault).endswith("is not known") for raw in batch.rows)

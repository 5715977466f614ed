"""Every real file beside the project, by way of the factory's jobs: it ingests, or is refused by name."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from alservice.app import App
from alservice.errors import AlserviceError
from alservice.science.tree import load_tree
from alservice.storage.postgres import transaction
from alservice.votes.exports import BadExport
from tests.support.shared import shared_data
from tests.votes.test_real_exports import GOLDEN, decals

TREE = load_tree("gz-decals-dr5")
NAME = "gz-decals-dr5"

OUTCOMES = {
    "MANIFEST.csv": "bad-export",
    "andromeda_project_classifications.csv": "foreign-export",
    "example_mixed_tasks_classifications.csv": "foreign-export",
    "fossil_finder_classifications.csv": "foreign-export",
    "galaxy_builder_classifications.csv": "bad-export",
    "gz_api_classifications_raw.jsonl": "bad-export",
    "gz_decals_dr5_classifications.csv": "9 requested",
    "gz_decals_dr5_classifications_minimal.csv": "bad-export",
    "gz_decals_dr5_reduction_early.csv": "bad-export",
    "gz_decals_workflow_version_66.425.json": "1 versions",
    "gz_decals_workflow_versions_24.json": "24 versions",
    "gz_ouroboros_subjects.csv": "bad-export",
    "michigan_zoomin_classifications.csv": "foreign-export",
    "steller_watch_extracts.csv": "bad-export",
    "survey_classifications.csv": "foreign-export",
    "wildcam_gorongosa_classifications.csv": "foreign-export",
}


@pytest.fixture
def files() -> Path:
    """Return the folder of real files."""
    return shared_data() / "exports"


@pytest.fixture
def survey(factory: App, files: Path) -> App:
    """A DECaLS campaign whose ledger knows the subjects of the real rows, one galaxy each."""
    campaign = factory.campaigns.save(decals())
    catalogue = factory.catalogues.save(
        campaign.id, source="real", digest="0" * 64, votes_key=None, galaxies=[], faults=[]
    )
    cycle = factory.cycles.start(campaign, catalogue.id, None, "test")
    export = (files / "gz_decals_dr5_classifications.csv").read_text(encoding="utf-8")
    subjects = {int(row.rpartition(",")[2]) for row in export.splitlines()[1:]}
    with transaction(factory.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO subjects (campaign_id, cycle_id, galaxy_id, key, image_key, state, zooniverse_id, n_votes,"
                " attempts, created_at, updated_at) SELECT :c, :y, 'J' || s, 'k' || s, 'x', 'live', s, 40, 1, now(), now()"
                " FROM unnest(CAST(:s AS bigint[])) AS s"
            ),
            {"c": campaign.id, "y": cycle.id, "s": sorted(subjects)},
        )
    return factory


def _outcome(factory: App, path: Path) -> str:
    """Ingest a file as a person would; return how much there was to it, or the code of the refusal."""
    try:
        if path.suffix == ".json":
            return f"{factory.votes.ingest_workflows(NAME, path)[0]} versions"
        return f"{factory.votes.ingest_export(NAME, path).requested} requested"
    except AlserviceError as error:
        return error.code if path.name in str(error) else f"refused without its name: {error}"


def test_every_file_ingests_or_is_refused_by_name(survey: App, files: Path) -> None:
    """No file is unknown to this test, and a refusal names the file and has a code; nothing foreign lands."""
    assert {path.name: _outcome(survey, path) for path in sorted(files.iterdir())} == OUTCOMES
    campaign = survey.campaigns.get(NAME)
    assert sum(survey.classifications.by_verdict(campaign.id).values()) == 9


def test_the_rows_that_a_person_would_count_are_counted(survey: App, files: Path) -> None:
    """The tallies of the nine rows hold the golden answers of those that count, and nothing else."""
    survey.votes.ingest_workflows(NAME, files / "gz_decals_workflow_versions_24.json")
    report = survey.votes.ingest_export(NAME, files / "gz_decals_dr5_classifications.csv")
    assert report.requested == report.landed + report.quarantined + sum(report.excluded.values()) == 9
    assert report.quarantined == 0
    assert report.landed >= 5
    campaign = survey.campaigns.get(NAME)
    with transaction(survey.engine) as connection:
        rows = connection.execute(text("SELECT classification_id, answers, verdict FROM classifications")).all()
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert {str(i): [TREE.columns[c] for c in answers] for i, answers, _ in rows} == {
        str(i): golden[str(i)] for i, *_ in rows
    }
    counted = Counter(column for i, _, verdict in rows if verdict == "counted" for column in golden[str(i)])
    tallies = survey.classifications.tallies(campaign.id, TREE.n_answers)
    assert dict(zip(TREE.columns, tallies.counts.sum(axis=0).tolist(), strict=True)) == {
        column: counted[column] for column in TREE.columns
    }


def test_a_drawing_or_survey_project_as_ones_own_waits(survey: App, files: Path) -> None:
    """A campaign on the wrong workflow quarantines every row by version; none is guessed, none is lost."""
    document = survey.campaigns.get(NAME).settings
    for name, workflow_id, rows in (
        ("survey_classifications.csv", 4994, 67),
        ("fossil_finder_classifications.csv", 371, 41),
    ):
        target = replace(document.zooniverse, workflow_id=workflow_id)
        survey.campaigns.save(replace(document, zooniverse=target))
        report = survey.votes.ingest_export(NAME, files / name)
        assert report.requested == rows
        assert (report.landed, report.quarantined + sum(report.excluded.values())) == (0, rows)


def test_a_missing_file_is_named(survey: App, tmp_path: Path) -> None:
    """A path that does not exist is an error with the path in it, and no traceback."""
    with pytest.raises(AlserviceError, match=r"absent\.csv"):
        survey.votes.ingest_export(NAME, tmp_path / "absent.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(BadExport, match=r"empty\.csv"):
        survey.votes.ingest_export(NAME, empty)

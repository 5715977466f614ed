"""Every command that README, runbook and documents print, as printed: it parses, and it runs or a line says why not.

`backfill` at the paper's sizes takes hours: what it reads is read, and it runs at a small size elsewhere.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import shlex
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from alservice.backfill.options import BackfillOptions
from alservice.backfill.plan import backfill_of
from alservice.backfill.report import write_report
from alservice.backfill.run import open_backfill, run_backfill
from alservice.catalogue import gz2 as fetching
from alservice.catalogue import gz2 as published_data
from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueRow
from alservice.catalogue.gz2 import Release, RemoteFile
from alservice.catalogue.vote_columns import GZ2_COLUMNS
from alservice.cli import app
from alservice.progress import NoProgress
from tests.support.dashboards import World
from tests.support.files import TREE, counts_of, write_galaxies
from tests.support.printed import (
    block_commands,
    command_of,
    documents,
    mentions,
    options_of,
    parse,
    spelled_out,
    table_commands,
)
from tests.support.shared import ROOT

DOCUMENTS = documents()
PRINTED = sorted({c for text in DOCUMENTS.values() for c in (*block_commands(text), *table_commands(text))})

_REHEARSE = (
    "alservice rehearse [--data FILE] [--galaxies N] [--cycles N] [--seed N] [--tree TREE] [--workdir DIR] [--json]"
)
_REGISTRY = "tests/e2e/test_registry.py"
_DEPLOYMENTS = "tests/flows/test_deployments.py"
_SERVER = "tests/support/prefect_server.py"
_VOTES = ("tests/backfill/test_votes_run.py", '"backfill-votes"')
_VALUES = "tests/offline/test_values.py"
_EXPLORE = "tests/explore/test_commands.py"
_SELECTIONS = (
    "save barred --campaign gz2 --where bar_yes:0.6:1 --where disk-edge-on_no:0.5:1 --sort novelty",
    "save by-hand --campaign gz2 --galaxies ids.txt",
    "list --campaign gz2",
    "show barred --campaign gz2",
    "send barred --campaign gz2 --reason 'bars that no model has seen'",
    "withdraw barred --campaign gz2 --reason 'artefacts after all'",
    "delete barred --campaign gz2",
    "save NAME --campaign C [--where CONDITION] [--sort COLUMN] [--galaxies FILE]",
    "list --campaign C [--json]",
    "show NAME --campaign C",
    "send NAME --campaign C --reason TEXT [--votes N] [--json]",
    "withdraw NAME --campaign C --reason TEXT",
    "delete NAME --campaign C",
)
_RELEASE = ("tests/e2e/test_canary.py", '"catalogue release"')
ELSEWHERE = {
    "alservice rehearse": ("tests/support/rehearsals.py", '"rehearse"'),
    _REHEARSE: ("tests/support/rehearsals.py", '"rehearse"'),
    "alservice cycle start|resume --campaign C [--json]": ("tests/support/prefect_server.py", '"cycle", "resume"'),
    "alservice cycle list --campaign C [--json]": ("tests/e2e/test_rehearse.py", '"cycle", "list"'),
    "alservice cycle show --campaign C [--number N] [--json]": ("tests/e2e/test_rehearse.py", '"cycle", "show"'),
    "alservice cycle show --campaign rehearsal": ("tests/e2e/test_rehearse.py", '"cycle", "show"'),
    "alservice model list --campaign rehearsal": (_REGISTRY, '"model", "list"'),
    "alservice campaign create --config deploy/campaigns/gz2.yaml": (
        "tests/e2e/test_private.py",
        '"campaign", "create", "--config", "deploy/campaigns/gz2.yaml"',
    ),
    "alservice cycle forecast --campaign C [--days D] [--json]": ("tests/app/test_forecasts.py", '"forecast"'),
    "alservice catalogue release --campaign C --out DIR [--format parquet|fits|csv|hats] [--replace]": _RELEASE,
    "alservice catalogue release --campaign gz2 --out gz2-release --format parquet": _RELEASE,
    "alservice explore anomalies --campaign C --search NAME [--rate FILE] [--simulate FILE] [--until N] [--top N] "
    "[--rater NAME] [--shared] [--forests] [--json]": (_EXPLORE, "alservice explore anomalies"),
    "alservice explore anomalies --campaign gz2 --search odd": (_EXPLORE, "--search odd"),
    "alservice explore anomalies --campaign gz2 --search odd --rate ratings.csv": (_EXPLORE, "--rate ratings.csv"),
    "alservice explore anomalies --campaign gz2 --search odd --top 200 --json": (_EXPLORE, "--top 200 --json"),
    "alservice explore anomalies --campaign gz2 --search replay --simulate truth.csv --until 200": (
        _EXPLORE,
        "--simulate truth.csv",
    ),
    "alservice explore build --campaign C": (_EXPLORE, '"alservice explore build'),
    "alservice explore build --campaign gz2": (_EXPLORE, '"alservice explore build'),
    "alservice explore similar --campaign C [--galaxy ID] [--position RA DEC] [--radius-arcsec S] [--image FILE] [--n N] "
    "[--exact] [--json]": (_EXPLORE, '"alservice explore similar'),
    "alservice explore similar --campaign gz2 --galaxy 587722981736120347": (_EXPLORE, "--galaxy 587722981736120347"),
    "alservice explore similar --campaign gz2 --image galaxy.jpg": (_EXPLORE, "--image galaxy.jpg"),
    "alservice explore similar --campaign gz2 --position 185.73 15.82 --n 50 --json": (_EXPLORE, "--position 185.73"),
    **{
        f"alservice selection {printed}": (_EXPLORE, f"alservice selection {printed.split()[0]}")
        for printed in _SELECTIONS
    },
    "alservice doctor": ("tests/e2e/test_rehearse.py", '"doctor"'),
    "alservice backfill-votes --out DIR [--data FILE] [--galaxies N] [--seeds N] [--json]": _VOTES,
    "alservice backfill-votes --data galaxies.parquet --confidence 0.95 --max-votes 40 --out votes": _VOTES,
    "alservice train --data rings.parquet --tree gz-rings --label ring --encoder model --out rings": (
        "tests/offline/test_documented_training.py",
        "## Start from an encoder",
    ),
    "alservice train --data sizes.parquet --target radius_arcsec --encoder model --out sizes": (_VALUES, '"--target"'),
    "alservice predict --model sizes --data sizes.parquet --out predicted-sizes.parquet": (_VALUES, '"predict"'),
    "alservice compare --votes FILE --experts FILE --label COLUMN --answer ANSWER [--predictions FILE] [--out DIR] [--json]": (
        "tests/offline/test_expert_comparison.py",
        '"compare"',
    ),
    "alservice db restore FILE": ("tests/storage/test_backup.py", "deploy/restore"),
    "alservice model lineage --campaign C [--model N] [--galaxy ID] [--json]": (_REGISTRY, '"lineage"'),
    "alservice model shadow --campaign C --model N [--json]": (_REGISTRY, '"shadow"'),
    "alservice model bias --campaign C --out FILE.html": (_REGISTRY, '"bias"'),
    "alservice gate approve|reject --campaign C --reason TEXT [--actor A] [--number N]": (_REGISTRY, '"approve"'),
    "alservice prefect automations [--notify TYPE/NAME] [--late-hours HOURS]": (
        "tests/flows/test_alarms.py",
        '"automations"',
    ),
    "alservice prefect serve": (_DEPLOYMENTS, '"prefect", "serve"'),
    "alservice prefect serve [--runs N]": (_DEPLOYMENTS, '"prefect", "serve"'),
    "alservice campaign validate --campaign C": ("tests/e2e/test_reconcile.py", '"validate"'),
    "alservice serve --port 8080": ("tests/web/test_application.py", '"serve"'),
    "alservice serve [--host H] [--port P]": ("tests/web/test_application.py", '"serve"'),
    "alservice reconcile --campaign C [--repair] [--json]": ("tests/e2e/test_reconcile.py", '"reconcile"'),
    "prefect server start": (_SERVER, '"server", "start"'),
    "prefect worker start --pool cpu": (_SERVER, '"worker", "start"'),
    "prefect worker start --pool gpu": (_SERVER, '"worker", "start"'),
    "torchrun --standalone --nproc-per-node 4 --no-python alservice train --data galaxies.parquet --tree gz2 --out model": (
        "tests/network/test_ranks.py",
        '"--no-python"',
    ),
    "deploy/register": (_SERVER, '"deploy", "--prefect-file", "deploy/prefect.yaml", "--all"'),
}
_TREES = ("tests/cli/test_trees.py", '"from-workflow"')
_RINGS = "tests/e2e/test_rings.py"
ELSEWHERE |= {
    "alservice tree show TREE [--json]": ("tests/cli/test_trees.py", '"show"'),
    "alservice tree validate FILE": ("tests/cli/test_trees.py", '"validate"'),
    "alservice tree from-workflow FILE --out FILE [--name NAME] [--workflow N]": _TREES,
}
ELSEWHERE |= {
    printed: (_RINGS, f'"{begins}"')
    for begins in (
        "alservice tree validate",
        "alservice tree show",
        "alservice train --data rings.parquet",
        "alservice predict --model ring-model",
        "alservice evaluate --predictions ring-predictions.parquet",
        "alservice backfill --data rings.parquet",
        "alservice rehearse --data rings.parquet",
        "alservice campaign create --config deploy/campaigns/decals-rings.yaml",
        "alservice catalogue import rings.parquet",
    )
    for printed in block_commands(DOCUMENTS["deploy/docs/rings.md"])
    if printed.startswith(begins)
}
"""Commands that take minutes, a server or a real rehearsal: the file that runs them at its own size, and its words."""

_BACKFILL = (
    "alservice backfill --out DIR [--data FILE] [--question smooth|bar|all] [--policies random,power_bald,...] "
    "[--seeds N] [--rounds N]"
)
_STANDIN = (
    "alservice standin --state DIR [--host H] [--port P] [--user NAME:PASSWORD] [--live-project] [--project N] "
    "[--workflow N] [--subject-limit N] [--settle-s S]"
)
_RULE = (
    """curl -X POST http://127.0.0.1:8100/standin/faults -d '[{"method": "POST", "path": "/api/subjects$", """
    """"kind": "status", "status": 504, "when": "after", "count": 1}]'"""
)
_CURVE = (
    "python -m tests.benchmarks.gate_curve --predictions predictions.npz --plot deploy/docs/gate-operating-curve.svg"
)
_TWO_MACHINES = "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint head:29400 --no-python alservice train ..."
_RAY_SETTINGS = (
    "export ALSERVICE_RAY_ADDRESS=HEAD:6379 ALSERVICE_OBJECT_STORE=s3://survey/objects ALSERVICE_DATABASE_URL=..."
)
_EXAMPLE = "is run as the example in its own section"
_LIVE = "asks Zooniverse; tests/e2e/test_rehearse.py and tests/flows go through the same steps with a stand-in"
NOT_RUN = {
    "alservice session end NUMBER": "needs somebody who is logged in; it ends like the others of its name",
    "deploy/check": "is what runs this test",
    "export 'ALSERVICE_HOME=$PWD' PREFECT_API_URL=http://127.0.0.1:4200/api": "a shell's own, for the lines after it",
    _TWO_MACHINES: "needs a second machine; tests/network/test_ranks.py runs two ranks on one",
    _RAY_SETTINGS: "a shell's own, for the lines after it; tests/prediction/test_elsewhere.py sets them",
    "pip install 'alservice[ray]'": "installs from a registry; deploy/with-venv installs it for the tests",
    "pip install 'alservice[tracing]'": "installs from a registry; deploy/with-venv installs it for the tests",
    "export ALSERVICE_TRACES_URL=http://127.0.0.1:4318/v1/traces": "a shell's own; tests/test_tracing.py sets it",
    "ray start --head --port 6379": "serves until it is stopped; tests/prediction/test_elsewhere.py starts two nodes",
    "alservice train --data galaxies.parquet --tree gz2 --out ensemble --ensemble 5": (
        "minutes; tests/cli/test_offline.py makes one of two small members"
    ),
    "python -m tests.benchmarks.scale --galaxies 100000000 --scored 50000": "a quarter of an hour; a benchmark",
    "python -m tests.benchmarks.real_predictions --out predictions.npz": "six minutes; a benchmark",
    _CURVE: "eleven minutes; a benchmark",
    "alservice rehearse --data galaxies.parquet --galaxies 4000 --cycles 3 --workdir real-work": (
        "the better part of an hour; the file is read as `catalogue import` reads it"
    ),
    "alservice train --data FILE --tree TREE --network NAME --out DIR": _EXAMPLE,
    "alservice predict --model DIR --data FILE --out FILE": _EXAMPLE,
    "alservice evaluate --predictions FILE --votes FILE [--out DIR] [--json]": _EXAMPLE,
    _BACKFILL: _EXAMPLE,
    "alservice data fetch gz2 --out DIR": _EXAMPLE,
    "alservice standin --host 127.0.0.1 --port 8100 --state standin-state --user owner:secret --user visitor:secret2": (
        "serves until Ctrl-C on a port that may be taken; tests/app/test_standin.py serves as it does"
    ),
    _STANDIN: "serves until Ctrl-C; tests/app/test_standin.py serves as it does",
    _RULE: "is asked of that program",
    "alservice catalogue import FILE --campaign C [--galaxies N] [--layout L] [--images DIR] [--image-name P] "
    "[--stretch S] [--order healpix] [--replace]": ("tests/catalogue reads layouts and imports"),
    "alservice ingest api --campaign C [--json]": "asks Zooniverse; tests/votes/test_ingest.py reads its listing",
    "alservice ingest export FILE --campaign C [--json]": "tests/votes/test_watch_exports.py reads exports",
    "alservice ingest workflows FILE --campaign C": "tests/votes/test_workflow_files.py reads each form of the file",
    "alservice catalogue import galaxies.parquet --campaign gz2": "the file is read as `alservice train` reads it",
    "alservice cycle start --campaign gz2": _LIVE,
    "alservice cycle resume --campaign gz2": _LIVE,
    "alservice tally export --campaign rehearsal --out tallies.csv": "is run on another campaign, as in the table",
    "alservice subject ask GALAXY... --campaign C --votes N --reason TEXT": "tests/subjects/test_ask_votes.py asks",
}
"""Commands that no test runs in this form, and why."""

ON_FILES = (
    "alservice train --data galaxies.parquet --tree gz2 --network compact --out model",
    "alservice predict --model model --data galaxies.parquet --out predictions.parquet",
    "alservice evaluate --predictions predictions.parquet --votes galaxies.parquet --evaluation-stream --out evaluation",
)
"""The three steps without the loop, in this order in one folder."""

FETCH = "alservice data fetch gz2 --out gz2"
_POLICIES = "--policies random,bald,power_bald,epig,threshold"
_PROTOCOL = "--seeds 5 --rounds 20 --test 2500"
_DATA = "alservice backfill --data gz2/galaxies.csv.gz"
REPLAYED = (
    f"{_DATA} --question smooth {_POLICIES} {_PROTOCOL} --out smooth",
    f"{_DATA} --question bar --initial 512 --batch 256 {_POLICIES} {_PROTOCOL} --out bar",
)
"""What is done with the published data: hours of a GPU. tests/e2e/test_backfill.py runs it at a small size."""

VALUES = {
    "A": "anna",
    "ANSWER": "ring_yes",
    "C": "gz-demo",
    "COLUMN": "expert",
    "CONDITION": "bar_yes:0.6:1",
    "D": "7",
    "DIR": "images",
    "FILE": "table.csv",
    "FILE.html": "bias.html",
    "FILE.yaml": str(ROOT / "deploy" / "campaigns" / "gz2.yaml"),
    "GALAXY": "sky3-0000014",
    "H": "127.0.0.1",
    "HOURS": "1",
    "ID": "sky3-0000014",
    "K": "gz_demo",
    "L": "gz2",
    "N": "20",
    "NAME": "anna",
    "NUMBER": "1",
    "NAME:PASSWORD": "owner:secret",
    "P": "8080",
    "RA": "10.5",
    "DEC": "-5",
    "S": "0.5",
    "TEXT": "looks right",
    "TREE": "gz2",
    "TYPE/NAME": "slack-webhook/oncall",
}
"""What stands for a placeholder of a table."""

ON_CAMPAIGN: Mapping[str, Mapping[str, str]] = {
    "alservice db upgrade": {},
    "alservice token create --scope operate --name anna": {},
    "alservice db backup --out FILE": {"FILE": "campaigns.dump"},
    "alservice metrics [--out FILE]": {"FILE": "metrics.prom"},
    "alservice campaign create --config FILE.yaml": {},
    "alservice campaign webhook --campaign C [--key K] [--expires-days N]": {},
    "alservice model list --campaign C [--json]": {},
    "alservice model promote --campaign C --model N --reason TEXT [--actor A]": {"N": "1"},
    "alservice model rollback --campaign C --reason TEXT [--actor A]": {},
    "alservice gate show --campaign C [--number N] [--json]": {"N": "1"},
    "alservice quarantine list --campaign C [--json]": {},
    "alservice quarantine replay --campaign C": {},
    "alservice tally export --campaign C --out FILE [--columns zoobot] [--images DIR]": {},
    "alservice tally weights --campaign C --out FILE": {},
    "alservice tally compare --campaign C [--json]": {},
    "alservice catalogue show --campaign C [--json]": {},
    "alservice catalogue faults --campaign C [--json]": {},
    "alservice tally faults --campaign C [--json]": {},
    "alservice tally recount --campaign C": {},
    "alservice forget-user --user-id N --campaign C": {},
    "alservice forget-expired --all": {},
    "alservice token create --scope read|operate|ingest [--expires-days N] [--name NAME]": {},
    "alservice token create --scope ingest --campaign C": {},
    "alservice token list [--json]": {},
    "alservice token rotate NAME [--overlap-hours HOURS]": {},
    "alservice session list": {},
    "alservice session end --token NAME": {},
    "alservice session end --all": {},
    "alservice token revoke NAME": {},
}
"""Commands of the table that work on a campaign, and their own values."""

DIFFERS = "alservice tally compare --campaign C [--json]"
"""The command that ends with code 1 on this campaign, whose two feeds are not equal."""


def run(words: list[str], code: int = 0) -> Result:
    """Run a command line in this process, without the program's name; it ends as expected."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, (words, done.output, done.exception)
    return done


# Nothing is printed that the program does not know


def test_every_printed_command_is_run_or_says_why_not() -> None:
    """Both ways: a new command in a document needs a test or a reason, and none stays behind when it goes."""
    known = {*ELSEWHERE, *NOT_RUN, *ON_FILES, FETCH, *REPLAYED, *ON_CAMPAIGN}
    assert set(PRINTED) == known


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_what_is_run_elsewhere_is_there(place: tuple[str, str]) -> None:
    """The file has the words of the command."""
    path, words = place
    assert words in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("printed", [line for line in PRINTED if line.startswith("alservice ")])
def test_every_printed_command_parses(printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without what is optional: no unknown command or option, no wrong value, nothing needed left out.

    Kind: a command in a document that the program refuses.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").touch()
    for _, *words in spelled_out(printed, VALUES):
        parse(words)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_named_in_a_text_exists(name: str) -> None:
    """A sentence may name a command in part: what it names is there, and so are the options."""
    for mention in mentions(DOCUMENTS[name]):
        options = re.findall(r"--[a-z][a-z-]*", mention)
        for _, *words in spelled_out(mention, defaultdict(lambda: "1")):
            assert set(options) <= options_of(command_of(words, part=True)), mention


# They do what they say


@pytest.mark.usefixtures("one_core")
def test_the_three_steps_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, predict and evaluate as printed, on a file of two dozen galaxies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    write_galaxies(tmp_path / "galaxies.parquet", 24)
    for printed in ON_FILES:
        run(shlex.split(printed)[1:])
    assert pq.read_metadata("predictions.parquet").num_rows == 24
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert any((tmp_path / "evaluation").iterdir())


def test_the_published_data_are_fetched_and_can_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `data fetch` leaves is what `backfill --data` takes, as printed.

    Kind: two commands that a page prints one after the other, of which the second refuses the first one's file.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    with publishers(tmp_path / "published", 60, monkeypatch):
        assert "60 galaxies of 61 rows" in run(shlex.split(FETCH)[1:]).output
    read = list(open_catalogue(Path("gz2/galaxies.csv.gz"), TREE).rows())
    assert [type(row) for row in read] == [CatalogueRow] * 60
    monkeypatch.setattr("flows.backfill.run_here", run_small)
    for printed in REPLAYED[:1]:  # the other asks another question of the same file
        ran = run(shlex.split(printed)[1:])
        assert "galaxies.csv.gz: 60 rows, layout gz2, ids in 'dr7objid' such as '587722981736120347'" in ran.stderr
        assert "votes: counts on 11 questions of tree gz2; 30 votes a galaxy (median)" in ran.stderr
        assert "report: " in ran.stdout


def run_small(options: BackfillOptions) -> Path:
    """Do what `run_here` does, in this process, at the smallest size and with the first two policies."""
    sizes = {"seeds": 1, "rounds": 1, "initial": 6, "batch": 2, "test": 4, "px": 16, "steps": 1, "passes": 0.0}
    asked = backfill_of(replace(options, device="cpu", policies=options.policies[:2], **sizes))
    with open_backfill(asked, options.out, NoProgress()) as rounds:
        for policy in ("initial", *asked.policies):
            run_backfill(asked, options.out, policy, 0)
        write_report(asked, options.out, rounds)
    return options.out / "report.html"


@contextmanager
def publishers(folder: Path, n: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a release of GZ2's form from this machine, in the place of its publishers; one galaxy has no image."""
    folder.mkdir()
    made = write_galaxies(folder / "galaxies.parquet", n + 1)
    images = pq.read_table(made, columns=["image"])["image"].to_pylist()
    counts = counts_of(n + 1)
    votes = {f"{GZ2_COLUMNS[column]}_count": counts[:, index] for index, column in enumerate(TREE.columns)}
    ids = np.arange(n + 1) + 587722981736120347
    table = pd.DataFrame({"dr7objid": ids, "ra": 10.0, "dec": -5.0, "sample": "original", **votes})
    table.to_csv(folder / "gz2_hart16.csv.gz", index=False)
    mapping = pd.DataFrame({"objid": ids, "sample": "original", "asset_id": np.arange(n + 1)})
    mapping.to_csv(folder / "gz2_filename_mapping.csv", index=False)
    with zipfile.ZipFile(folder / "images_gz2.zip", "w") as archive:
        for number, image in enumerate(images[:n]):
            archive.writestr(f"images/{number}.jpg", image)
    with served(folder) as url:
        files = tuple(
            RemoteFile(
                name=file.name,
                url=f"{url}/{file.name}",
                md5=file.md5 and hashlib.md5((folder / file.name).read_bytes()).hexdigest(),
            )
            for file in published_data.GZ2.files
        )
        monkeypatch.setitem(published_data.RELEASES, "gz2", Release(name="gz2", files=files, cite="somebody"))
        monkeypatch.setitem(fetching.fetch_release.__kwdefaults__, "needed_bytes", 1)  # a test's disk may be small
        yield


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine."""
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def test_commands_on_a_campaign(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends well on a campaign of three cycles, with and without what is optional."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", world.factory.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("ALSERVICE_OBJECT_STORE", str(world.factory.settings.folder / "objects"))
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    for printed, values in ON_CAMPAIGN.items():
        for number, (_, *words) in enumerate(spelled_out(printed, {**VALUES, **values})):
            # Names of tokens are never used twice.
            typed = [
                f"anna-{number}" if word == "anna" and "create --scope read|" in printed else word for word in words
            ]
            if typed[:2] == ["model", "rollback"]:
                run(["model", "promote", "--campaign", "gz-demo", "--model", "1", "--reason", "to go back from"])
            run(typed, 1 if printed == DIFFERS else 0)

"""Record a small database and object store of a release, for tests of later ones to bring forward.

Run in a checkout of the release, by its code and its tests:

    git worktree add ../release COMMIT
    cp tests/migrations/record_release.py ../release/tests/migrations
    cd ../release
    python -m tests.migrations.record_release --out ../alservice/tests/data

Written are ``release-REVISION.sql``, by ``pg_dump --inserts``, and ``release-REVISION.zip`` with every object of the
store. The campaign is that of `tests.cycle.test_cycle.Loop`, 40 galaxies: its first cycle has made a champion, whose
posterior of the whole catalogue is stored; its second stands before the draw of its batch.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import zipfile
from pathlib import Path

from alservice.campaigns.campaign import PredictionPolicy, TrainingPolicy
from alservice.campaigns.cycle import CycleState
from alservice.storage import embedded_postgres
from alservice.storage.postgres import make_engine, schema_state
from tests.cycle.test_cycle import Loop
from tests.support.postgres import migrated_database

SMALLEST = TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=1, threads=1, network="walmsley2020")
SESSION = ("SET ", "SELECT pg_catalog.set_config", "\\", "--")
"""How lines begin that are for psql's session and no data."""


def dump(url: str) -> str:
    """Return a database as SQL text."""
    program = embedded_postgres.newest().folder / "pg_dump"
    options = ("--inserts", "--no-owner", "--no-privileges")
    where = url.replace("postgresql+psycopg2:", "postgresql:")
    done = subprocess.run([program, *options, "--dbname", where], check=True, capture_output=True, text=True)
    lines = (line for line in done.stdout.splitlines() if line and not line.startswith(SESSION))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the campaign, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with migrated_database() as url, tempfile.TemporaryDirectory() as folder:
        engine = make_engine(url)
        loop = Loop(engine, Path(folder), training=SMALLEST, prediction=PredictionPolicy(draws=5))
        loop.run(loop.start())
        loop.run(loop.start(), until=CycleState.ACQUIRING)
        revision = schema_state(engine)[0]
        engine.dispose()
        (out / f"release-{revision}.sql").write_text(dump(url), encoding="utf-8")
        objects = Path(folder) / "objects"
        with zipfile.ZipFile(out / f"release-{revision}.zip", "w") as archive:
            for path in sorted(path for path in objects.rglob("*") if path.is_file()):
                name = zipfile.ZipInfo(path.relative_to(objects).as_posix())
                archive.writestr(name, path.read_bytes(), compress_type=zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main()

"""Prediction beside an S3 server that fails at random, and under ``kill -9``: nothing lost, nothing half visible."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from alservice.errors import AlserviceError
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.shard import ShardPredictor
from alservice.storage import arrays
from alservice.storage.objects import LocalObjects, open_objects
from alservice.storage.s3 import S3Objects
from alservice.testing import MemoryObjects
from tests.prediction.worlds import CAMPAIGN, make_model, make_tasks, predict
from tests.support.s3 import S3Server
from tests.support.s3_weather import KINDS, Weather, stormy_road
from tests.support.shared import ROOT


@pytest.mark.usefixtures("credentials")
def test_a_week_on_a_store_that_fails_at_random(moto: S3Server) -> None:
    """Whatever call is lost, cut or changed: the run is started again until it is done, and its digests are those of
    a calm one.
    """
    calm, weather = MemoryObjects(), Weather(seed=3)
    expected = predict(calm, make_model(calm), make_tasks(calm))
    boto3.client("s3", endpoint_url=moto.endpoint_url).create_bucket(Bucket="weather")
    with stormy_road(moto.endpoint_url, weather) as endpoint:
        objects = S3Objects("weather", endpoint_url=endpoint, read_timeout_s=5, max_attempts=1)
        model, tasks = make_model(objects), make_tasks(objects)
        weather.share = 0.3
        recorded, codes = {}, set()
        for _ in range(1000):
            left = [task for task in tasks if task.pack.index not in recorded]
            try:
                predictors = [ShardPredictor.load(objects, model, CAMPAIGN, "cpu")]
                for shard in predict_overlapped(left, predictors):
                    recorded[shard.index] = shard
            except AlserviceError as error:
                codes.add(error.code)
            if len(recorded) == len(tasks):
                break
        weather.share = 0.0
        assert [recorded[index] for index in sorted(recorded)] == expected
        assert set(objects.keys("predictions")) == {shard.key for shard in expected}
        assert all(arrays.decode_prediction(objects.get(shard.key)) for shard in expected)
    assert codes
    assert set(weather.struck) <= set(KINDS)
    assert sum(weather.struck.values()) > 5


SCRIPT = """
import json, os, signal, sys
from itertools import count
from pathlib import Path
from alservice.storage.objects import LocalObjects
from tests.prediction.worlds import CAMPAIGN, make_model, make_tasks
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.shard import ShardPredictor

folder, die_at = Path(sys.argv[1]), int(sys.argv[2])
objects = LocalObjects(folder / "objects")
model, tasks = make_model(objects), make_tasks(objects)
record = folder / "recorded"
done = {json.loads(line)["index"] for line in record.read_text().splitlines()} if record.exists() else set()
replace, calls = Path.replace, count(1)

def deadly(self, target):  # the moment between an object's bytes and its name
    if next(calls) == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = deadly
predictor = ShardPredictor.load(objects, model, CAMPAIGN, "cpu")
for shard in predict_overlapped([task for task in tasks if task.pack.index not in done], [predictor]):
    with record.open("a") as sheet:
        sheet.write(json.dumps({"index": shard.index, "key": shard.key}) + "\\n")
"""


def test_killed_before_a_shard_has_its_name_and_started_again(tmp_path: Path) -> None:
    """A kill leaves no half shard under a name, what was recorded is not done again, and the digests are the same."""
    calm = MemoryObjects()
    expected = {shard.index: shard.key for shard in predict(calm, make_model(calm), make_tasks(calm))}

    def run(die_at: int) -> int:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(die_at)]
        return subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode

    assert run(3) == -signal.SIGKILL
    objects = LocalObjects(tmp_path / "objects")
    assert 0 < len(set(objects.keys("predictions"))) < len(expected)
    assert all(arrays.decode_prediction(objects.get(key)) for key in objects.keys("predictions"))
    assert any((tmp_path / "objects" / ".tmp").iterdir())
    before = (tmp_path / "recorded").read_text().splitlines() if (tmp_path / "recorded").exists() else []
    assert run(0) == 0
    lines = (tmp_path / "recorded").read_text().splitlines()
    assert lines[: len(before)] == before
    assert {(found := json.loads(line))["index"]: found["key"] for line in lines} == expected
    assert len(lines) == len(expected)
    assert set(open_objects(str(tmp_path / "objects")).keys("predictions")) == set(expected.values())

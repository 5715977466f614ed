"""Fixtures that any test may ask for; each lives in the support module that it is about."""

import os

from hypothesis import settings

# Before anything imports a Zooniverse client: in every thread, its default is then a port that nobody serves.
os.environ["PANOPTES_ENDPOINT"] = "http://127.0.0.1:9"

# A deadline is a timing assertion in disguise; how long an example takes is a benchmark's business.
settings.register_profile("alservice", deadline=None)
settings.load_profile("alservice")

pytest_plugins = ["tests.support.postgres"]

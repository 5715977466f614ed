"""Fixtures that any test may ask for; each lives in the support module that it is about."""

pytest_plugins = ["tests.support.postgres"]

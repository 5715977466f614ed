"""The populated campaign that the web's tests look at, for the commands that people type."""

from tests.web.conftest import populated, world

__all__ = ["populated", "world"]

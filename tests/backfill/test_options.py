"""Options of a backfill: one record, of which the command and the flow's form are made."""

import inspect
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import ValidationError

from alservice.backfill.options import BackfillOptions
from alservice.cli import offline
from alservice.errors import BadConfig
from alservice.options import Option, check_options, option_fields
from flows.backfill import BackfillParameters, backfill, options_of

NAMES = [field.name for field in fields(BackfillOptions)]


def test_the_command_has_an_option_for_every_field() -> None:
    """In the record's order, with its text; defaults are the record's, several names a list, as an option may be repeated."""
    parameters = inspect.signature(offline.backfill).parameters
    assert list(parameters) == [*NAMES, "as_json"]
    for field in option_fields(BackfillOptions):
        option = parameters[field.name].annotation.__metadata__[0]
        assert option.help == field.option.help
        default = parameters[field.name].default
        several = list(field.default) if isinstance(field.default, tuple) else field.default
        assert default == (inspect.Parameter.empty if field.default is MISSING else several)
    field = parameters["field"].annotation.__metadata__[0]
    assert (field.min, field.max) == (0.1, 1.0)


def test_the_form_has_a_field_for_every_one() -> None:
    """With what it says of each, and the bounds; the folder alone is needed."""
    schema = BackfillParameters.model_json_schema()
    assert (list(schema["properties"]), schema["required"]) == (NAMES, ["out"])
    for field in option_fields(BackfillOptions):
        assert schema["properties"][field.name]["description"] == (field.option.form or field.option.help)
    assert schema["properties"]["seeds"] | {"description": ""} == {
        "default": 5,
        "description": "",
        "maximum": 1000,
        "minimum": 1,
        "title": "Seeds",
        "type": "integer",
    }
    assert set(backfill.parameters.definitions) == {"BackfillParameters"}
    assert options_of(BackfillParameters(out="a", seeds="3", policies=["random"])) == BackfillOptions(
        out=Path("a"), seeds=3, policies=("random",)
    )
    with pytest.raises(ValidationError, match="seeds"):
        BackfillParameters(out="a", seeds=0)


def test_the_command_hands_the_record_to_the_flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random is always one of the policies, and none is there twice; the folder is absolute."""
    asked = []
    (tmp_path / "savings.txt").write_text("")
    stub = SimpleNamespace(run_here=lambda options: asked.append(options) or tmp_path / "report.html")
    monkeypatch.setitem(sys.modules, "flows.backfill", stub)
    monkeypatch.setattr(offline, "use", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    given = {name: p.default for name, p in inspect.signature(offline.backfill).parameters.items()}
    offline.backfill(**given | {"out": Path("here"), "policies": "epig, bald,,epig,random", "px": 32})
    assert asked == [BackfillOptions(out=tmp_path / "here", policies=("random", "epig", "bald"), px=32)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 0}, "seeds must be at least 1 and at most 1000, not 0"),
        ({"seeds": 1001}, "seeds must be at least 1 and at most 1000, not 1001"),
        ({"field": 0.0}, "field must be more than 0 and at most 1, not 0.0"),
        ({"field": 1.5}, "field must be more than 0"),
        ({"passes": -1.0}, "passes must be at least 0, not -1.0"),
        ({"px": 15}, "px must be at least 16 and at most 1024"),
    ],
)
def test_an_option_beyond_its_bounds_is_named(changes: dict[str, float], said: str) -> None:
    """Whoever makes the record; what stands at a bound is within."""
    with pytest.raises(BadConfig, match=said):
        BackfillOptions(out=Path(), **changes)
    BackfillOptions(out=Path(), seeds=1000, field=1.0, px=16, passes=0, mean_precision=1e-9)


def test_a_field_without_text_is_a_mistake_of_ours() -> None:
    """No option goes undescribed."""

    @dataclass(frozen=True)
    class Wrong:
        first: Annotated[int, Option(help="One.")] = 1
        second: int = 2

    with pytest.raises(TypeError, match="second is not annotated"):
        check_options(Wrong())

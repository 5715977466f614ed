"""Campaign files that try something: every one is a typed error that names file and field, at once."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from alservice.campaigns.campaign import load_campaign_file, parse_campaign
from alservice.checks import MAX_ID, is_storable, storable
from alservice.errors import BadConfig

GOOD: dict[str, Any] = {"name": "gz", "tree": "gz2"}
HEAD = "name: gz\ntree: gz2\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 20_000 + "]" * 20_000,
        "\n".join(f"{' ' * depth}a:" for depth in range(2_000)),
        "- " * 20_000 + "a",
        "a: &x [1, 2]\nb: *x",
        "a: &a [x, x]\n"
        + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]" for i in range(20)),
        "a: [" + "1, " * 30_000 + "]",
        "a: 2024-99-99",
        "a: !!int x",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!binary '*'",
        "seed: " + "9" * 5_000,
        "a: \ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "? [a, b]\n: c",
        "x" * (2 << 20),
    ],
    ids=lambda text: text[:12],
)
def test_yaml_that_costs_more_than_it_says_is_refused(tmp_path: Path, text: str) -> None:
    """Kind: a document that its parser dies of. Depth, aliases, length, and values that are none."""
    path = tmp_path / "campaign.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(BadConfig, match=r"campaign\.yaml"):
        load_campaign_file(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: " + "9" * 400, "seed"),
        ("seed: 9223372036854775808", "seed"),
        ("hold_hours: .inf", "hold_hours"),
        ("hold_hours: .nan", "hold_hours"),
        ("hold_hours: 1.0e+300", "hold_hours"),
        ("collecting: {deadline_hours: .inf}", "deadline_hours"),
        ("collecting: {deadline_hours: 1.0e+12}", "deadline_hours"),
        ("gate: {margin_nats_per_vote: .inf}", "gate"),
        ("gate: {max_rmse_increase: .nan}", "gate"),
        ("drift: {max_rate_factor: .inf}", "drift"),
        ("ingest: {retention_days: 1.0e+300}", "retention_days"),
        ('zooniverse: {subject_set: "a\\0b"}', "subject_set"),
        ('zooniverse: {subject_set: "\\ud800"}', "subject_set"),
        ("zooniverse: {workflow_id: 99999999999999999999}", "workflow_id"),
        ("zooniverse: {subject_set: " + "x" * 5000 + "}", "subject_set"),
        ('ingest: {reducers: ["a\\0"]}', "reducers"),
        ("training: {steps: 99999999999999999999}", "steps"),
        ('"a\\0b": 1', ""),
    ],
)
def test_a_value_that_no_database_holds_names_its_field(tmp_path: Path, text: str, named: str) -> None:
    """Kind: a value that is found out when it is stored, or when a calendar adds it."""
    path = tmp_path / "campaign.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(BadConfig, match=rf"campaign\.yaml.*{named}"):
        load_campaign_file(path)


@pytest.mark.parametrize("name", ["", "A", "a b", "a_b", "a\n", "é", "x" * 101, "x" * 5000, "a\0", "٣"])
def test_one_rule_for_names(name: str) -> None:
    """Kind: a name that one door takes and another refuses. The API's addresses have the same rule."""
    from alservice.web.schemas import CampaignName

    with pytest.raises(BadConfig, match="100 at most"):
        parse_campaign({**GOOD, "name": name}, source="test")
    with pytest.raises(ValidationError):
        TypeAdapter(CampaignName).validate_python(name)
    assert TypeAdapter(CampaignName).validate_python("x" * 100)
    assert parse_campaign({**GOOD, "name": "x" * 100}, source="test").name == "x" * 100


def test_the_largest_numbers_are_kept() -> None:
    """A seed of 63 bits, and ten years."""
    campaign = parse_campaign({**GOOD, "seed": MAX_ID, "hold_hours": 87_840}, source="test")
    assert (campaign.seed, campaign.hold_hours) == (MAX_ID, 87_840)
    assert len(campaign.digest) == 64


def test_what_can_be_stored() -> None:
    """NUL and halves of surrogate pairs cannot; everything else can."""
    assert is_storable("a\t\u202e😀")
    assert not any(is_storable(text) for text in ("\0", "a\ud800", "\udfff"))
    assert storable("a\0\ud800", max_chars=10) == "a\\x00\\ud800"
    assert storable("x" * 20, max_chars=10) == "x" * 10 + "..."

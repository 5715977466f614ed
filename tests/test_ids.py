"""Names and the draws that follow from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadInput
from alservice.ids import (
    RoundedId,
    check_galaxy_id,
    digest_of_document,
    seed_of,
    stable_digests,
    stable_fraction,
    subject_key,
)


def test_stable_fraction_is_the_recorded_number() -> None:
    """The hash is part of every stored membership: it may never change."""
    assert stable_fraction(7, "J000000.00+000000.0") == 0.4223537514278513


def test_many_ids_have_the_numbers_of_each() -> None:
    """The first eight of 32 bytes, for ids of any length and script."""
    names = ["J000000.00+000000.0", "", "Ω" * 200]
    digests = stable_digests(7, names)
    found = [int.from_bytes(digests[place : place + 8], "big") / 2**64 for place in range(0, len(digests), 32)]
    assert found == [stable_fraction(7, name) for name in names]


@given(st.integers(), st.text(max_size=30))
def test_stable_fraction_lies_in_the_unit_interval(seed: int, galaxy_id: str) -> None:
    """Any seed and id give a number in [0, 1)."""
    assert 0 <= stable_fraction(seed, galaxy_id) < 1


def test_seed_of_tells_its_parts_apart() -> None:
    """Joining parts differently gives another seed."""
    assert seed_of(1, "a", 23) != seed_of(1, "a2", 3)


def test_document_digest_ignores_key_order() -> None:
    """Two spellings of one document have one digest."""
    assert digest_of_document({"a": 1, "b": [2, 3]}) == digest_of_document({"b": [2, 3], "a": 1})


def test_subject_key_depends_on_campaign_and_galaxy() -> None:
    """One galaxy in two campaigns has two keys."""
    assert len({subject_key("a", "g"), subject_key("b", "g"), subject_key("a", "h")}) == 3


@pytest.mark.parametrize("bad", ["", " g", "g\n", "x" * 201])
def test_unusable_ids_are_refused_with_their_place(bad: str) -> None:
    """An id that cannot be shown or stored names the row it came from."""
    with pytest.raises(BadInput, match="row 3"):
        check_galaxy_id(bad, where="row 3")


@pytest.mark.parametrize(
    "text",
    ["5.877e+17", "5.87722981742346e+17", "5,877E+17", "5.877E17", "6e+17", "-1.5e+10", "123.0", "123.", "123,0"],
)
def test_ids_that_went_through_floats_are_refused_by_what_happened(text: str) -> None:
    """Kind: an id as a column of floats, a spreadsheet or another program's floats write it."""
    with pytest.raises(RoundedId, match=r"row 3: .* is a float and no id.*export ids as text"):
        check_galaxy_id(text, where="row 3")


@pytest.mark.parametrize(
    "text",
    ["587722981742346362", "12e5", "123e45", "J1.5e+10", "123.5", "1.2.0", "a1.0", "180.5+12.0", "1,000", "00.png"],
)
def test_ids_that_only_look_like_numbers_are_ids(text: str) -> None:
    """Digits, hexadecimal digests, positions and names of files stay as they are."""
    assert check_galaxy_id(text, where="row 3") == text

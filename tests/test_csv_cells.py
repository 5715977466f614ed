"""Cells that a spreadsheet would run: the quote before them, and the text back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.storage.csv import plain_cell, safe_cell

FORMULA = "=1+1"


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "＝", "﹦", "⁼", "₌", "＋", "﹢", "⁺", "－", "﹣", "−", "‐", "＠", "﹫"]
)
@pytest.mark.parametrize("before", ["", " ", "\u00a0", "\u3000", "\ufeff", "\u200b", "\u202e", "\x01"])
def test_every_sign_that_begins_a_formula_gets_a_quote(sign: str, before: str) -> None:
    """Kind: look-alikes. Wide, small and raised signs, behind blanks and marks that are not seen."""
    text = f"{before}{sign}cmd|' /C calc'!A0"
    assert safe_cell(text) == f"'{text}"
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", ["\tx", "\rx", "\n=1"])
def test_a_break_at_the_beginning_gets_a_quote(text: str) -> None:
    """What is pasted begins a cell anew there."""
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "J000001.2+01", "a=b", "'quoted'", "588017703996096547", "≠", "\u3000", "é"])
def test_other_texts_stay(text: str) -> None:
    """An id is shown as it is."""
    assert safe_cell(text) == text
    assert plain_cell(text) == text


@given(st.text(alphabet="'=＝+- \ufeffab\t", max_size=8))
def test_every_text_comes_back(text: str) -> None:
    """Also one that begins with quotes itself."""
    assert plain_cell(safe_cell(text)) == text
    assert safe_cell(text) == text or safe_cell(text) == f"'{text}"

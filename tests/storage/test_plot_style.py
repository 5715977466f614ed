"""Plots as bytes: one style, and the same picture for the same data."""

import xml.etree.ElementTree as ET

import pytest

from alservice.storage.plots import ACCENT, canvas, png, rendered, svg, training_curve

HISTORY = [{"step": 1.0, "train": 3.0, "hold_out": 2.5}, {"step": 2.0, "train": 2.0, "hold_out": 2.25}]


def line():
    """Return a plot of one line."""
    figure, axes = canvas()
    axes.plot([0, 1], [0, 1], color=ACCENT)
    return figure


def test_the_same_plot_gives_the_same_bytes():
    """No date and no random identifier gets in."""
    assert svg(line()) == svg(line())
    assert png(line()) == png(line())


@pytest.mark.parametrize("transparent", [True, False])
def test_an_element_stands_in_a_page_and_as_a_file(transparent):
    """One SVG element with its name space and nothing before it; on paper of its own unless transparent."""
    text = svg(line(), transparent=transparent)
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert ("fill: #ffffff" in text) != transparent


def test_files_hold_both_kinds():
    """A figure is written as SVG and as PNG under its name."""
    files = rendered("line", line())
    assert files == {"line.svg": svg(line(), transparent=False).encode(), "line.png": png(line())}
    assert files["line.png"].startswith(b"\x89PNG")
    assert set(training_curve(HISTORY)) == {"training-curve.svg", "training-curve.png"}

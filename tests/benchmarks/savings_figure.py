"""Labels saved at equal error, as recorded in this folder's README: one line per question and policy, with its interval.

Run: ``python -m tests.benchmarks.savings_figure`` (writes ``deploy/docs/savings.svg``)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from tests.benchmarks.figures import ACCENT, INK, PALE, plain, svg
from tests.support.shared import ROOT

PAGE: Final = ROOT / "deploy" / "docs" / "savings.svg"
RECORDED: Final = ROOT / "tests" / "benchmarks" / "README.md"

_TODAY: Final = re.compile(r"all questions power_bald ([+-]\d+) %, bald ([+-]\d+) %, threshold ([+-]\d+) %")
_SAVED: Final = re.compile(r"\| \**([+-]\d+) % \[([+-]\d+), ([+-]\d+)\]")


class Saving(NamedTuple):
    """Share of new labels saved, %, with the ends of its 95 % interval."""

    label: str
    saved: int
    low: int
    high: int
    today: int | None = None
    """By today's way of counting, where the interval is by the earlier one."""

    @property
    def text(self) -> str:
        """The figure as the README writes it."""
        return f"{self.saved:+d} % [{self.low:+d}, {self.high:+d}]"


ROWS: Final = (
    ("Whole tree: power_bald, the default *", "| all, power_bald |"),
    ("Whole tree: bald *", "| all, bald |"),
    ("Whole tree: threshold *", "| all, threshold (KaDE's rule) |"),
    ("Smooth: bald", "| bald, now | +14 %"),
    ("Bar: bald", "| bald | +9 %"),
    ("Smooth, earlier trunk: bald", "| Smooth, 4,000 of 13,598 | bald | +31 %"),
    ("Smooth, earlier trunk: epig", "| | epig | +23 %"),
    ("Smooth, earlier trunk: threshold", "| | threshold | +5 %"),
)
"""What each line shows, and how its row of the README begins."""


def recorded() -> list[Saving]:
    """Return the savings that the README records."""
    text = RECORDED.read_text(encoding="utf-8")
    lines, today = text.splitlines(), _TODAY.search(text)
    assert today is not None
    recounted = iter(map(int, today.groups()))
    found = []
    for label, begins in ROWS:
        (row,) = [line for line in lines if line.startswith(begins)]
        match = _SAVED.search(row)
        assert match is not None, row
        saved, low, high = map(int, match.groups())
        found.append(Saving(label, saved, low, high, next(recounted) if label.endswith("*") else None))
    return found


def plot(savings: list[Saving]) -> str:
    """Return the figure as SVG; intervals that lead out of it end in an arrow."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = plain(figure.subplots())
    axes.set_xlim(-100, 100)
    axes.axvline(0, color=INK, linewidth=0.8)
    for place, each in enumerate(reversed(savings)):
        clear = each.low > 0
        colour = ACCENT if clear else PALE
        axes.plot([max(each.low, -100), each.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        if each.low < -100:
            axes.plot(-99, place, marker="<", color=colour)
        axes.plot(each.saved, place, marker="o", color=ACCENT if clear else INK)
        if each.today is not None:
            axes.plot(each.today, place, marker="D", color=INK, markerfacecolor="white", linestyle="none")
        axes.annotate(each.text, (102, place), annotation_clip=False, va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(savings)), [each.label for each in reversed(savings)])
    axes.set_xlabel("new labels saved at equal error, % (95 % interval over seeds and galaxies; right of 0 saves)")
    axes.grid(axis="x", color=PALE, alpha=0.35, linewidth=0.6)
    note = "* counted as before;\n◇ by today's count,\nwithout an interval"
    axes.text(1.01, -0.3, note, transform=axes.transAxes, ha="left", fontsize=8, color=INK)
    return svg(figure)


if __name__ == "__main__":
    PAGE.write_text(plot(recorded()) + "\n", encoding="utf-8")

"""A week of surveys on paper: storage, hours, SQL and votes from rates that were measured, as the table of scale.md.

Run: ``python -m tests.benchmarks.scale_plan --write`` puts it into ``deploy/docs/scale.md``; a test compares the two.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from tests.support.shared import ROOT

PAGE: Final = ROOT / "deploy" / "docs" / "scale.md"
BEGIN, END = "<!-- made from rates: python -m tests.benchmarks.scale_plan --write -->", "<!-- end -->"

SURVEYS: Final = {"GZ2": 3e5, "DESI": 8.7e6, "Euclid, LSST": 1e8, "LSST, deepest": 1e9}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured, where tests/benchmarks/README.md does not say otherwise on a core of a busy two-core machine.

    Parameters
    ----------
    predicted
        Galaxies a core predicts per second: `compact`, 64 px, 8 views, 30 draws ("Prediction and training").
    scored
        Galaxies a core scores per second on the tree of GZ2 ("Scoring").
    drawn
        Galaxies a core draws from per second ("Scale").
    flop
        Of a galaxy through `compact` in 8 views, counted.
    pack_bytes, week_bytes
        Of a galaxy: its 64 px grey image in a pack; summaries, score and embedding of one prediction, uncompressed.
    galaxy_row, subject_row, vote_row, tally_row
        Bytes of SQL with indexes: 20,000 rows of each of the first two; 5 million classifications ("Ingest").
    """

    predicted: float = 533
    scored: float = 7_873
    drawn: float = 409_900
    flop: float = 8 * 72.8e6
    pack_bytes: float = 64 * 64
    week_bytes: float = 20 + 2 * 2 * 37 + 4 + 2 * 192
    galaxy_row: float = 243
    subject_row: float = 385
    vote_row: float = 499
    tally_row: float = 70


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What was not measured: a GPU's arithmetic, prices, the volunteers, and the mean size of an original image.

    Parameters
    ----------
    gpu_flop
        FLOP/s that a GPU would reach: 5 % of the 990 teraFLOP/s in bfloat16 that an H100 is sold with.
    gpu_hour, core_hour
        Dollars.
    classifications
        Of a week; Galaxy Zoo's everyday is some 50,000 a day.
    votes
        Per galaxy, without stopping early.
    image_bytes
        Of an original JPEG.
    """

    gpu_flop: float = 0.05 * 990e12
    gpu_hour: float = 3.0
    core_hour: float = 0.04
    classifications: float = 350_000
    votes: float = 40
    image_bytes: float = 20_000


def rows(rates: Rates, assumed: Assumed) -> list[tuple[str, ...]]:
    """Return the table: what of a survey, then a cell per survey."""
    table: list[tuple[str, ...]] = [("", *SURVEYS)]

    def line(name: str, cell: object) -> None:
        table.append((name, *(cell(n) for n in SURVEYS.values())))  # type: ignore[operator]

    line("galaxies", lambda n: f"{n:,.0f}")
    line("original images", lambda n: size(n * assumed.image_bytes))
    line("image packs, 64 px grey", lambda n: size(n * rates.pack_bytes))
    line("written each week", lambda n: size(n * rates.week_bytes))
    line("prediction, core-hours", lambda n: hours(n / rates.predicted))
    line("the same, dollars of cores", lambda n: dollars(n / rates.predicted / 3600 * assumed.core_hour))
    line("prediction, GPU-hours (assumed 5 % of peak)", lambda n: hours(n * rates.flop / assumed.gpu_flop))
    line("the same, dollars of GPUs", lambda n: dollars(n * rates.flop / assumed.gpu_flop / 3600 * assumed.gpu_hour))
    line("scoring, core-hours", lambda n: hours(n / rates.scored))
    line("drawing, hours of one core", lambda n: hours(n / rates.drawn))
    line("SQL: galaxies", lambda n: size(n * rates.galaxy_row))
    asked = assumed.classifications / assumed.votes
    line("weeks until volunteers have seen all", lambda n: f"{n / asked:,.0f}")
    line(
        "SQL: subjects, tallies and votes of a year",
        lambda n: size(votes_of_a_year(min(n, 52 * asked), rates, assumed)),
    )
    return table


def votes_of_a_year(galaxies: float, rates: Rates, assumed: Assumed) -> float:
    """Return the bytes of SQL of so many galaxies asked about."""
    return galaxies * (rates.subject_row + rates.tally_row + assumed.votes * rates.vote_row)


def size(n_bytes: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} PB"


def hours(seconds: float) -> str:
    """Return hours."""
    return f"{seconds / 3600:,.2g}" if seconds < 36_000 else f"{seconds / 3600:,.0f}"


def dollars(amount: float) -> str:
    """Return dollars."""
    return "< 1" if amount < 1 else f"{amount:,.0f}"


def text() -> str:
    """Return the table in Markdown."""
    head, *body = rows(Rates(), Assumed())
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def page(document: str) -> str:
    """Return the page with the table of now in its place."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text()}\n\n{END}{after}"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put it into deploy/docs/scale.md")
    if parser.parse_args().write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(text())


if __name__ == "__main__":
    main()

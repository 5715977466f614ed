"""Options of backfills: commands and the flow's form are made of these records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from alservice.options import Option, check_options
from alservice.science.stopping import MIN_GAIN

Images: TypeAlias = Annotated[
    Path | None, Option(help="Folder of images: files named ID.jpg, or as FOLDER/{id}.png says.")
]
Column: TypeAlias = Annotated[
    tuple[str, ...], Option(help="What columns of other names are: id=, image=, ra= or dec=NAME, with commas.")
]
VotesAre: TypeAlias = Annotated[
    Literal["counts", "fractions"] | None, Option(help="What votes are: counts or fractions [told by the numbers].")
]
"""How a table is read, in every record of a backfill."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillOptions:
    """What a backfill replays; sizes that are None are the question's own.

    Raises
    ------
    BadConfig
        An option is beyond its bounds; it is named.
    """

    out: Annotated[
        Path,
        Option(
            help="Folder of curves, savings and report; the same backfill goes on.",
            form="Folder of curves, savings and report; the same backfill there goes on.",
        ),
    ]
    data: Annotated[
        Path | None,
        Option(
            help="Catalogue with recorded votes; without it the synthetic sky.",
            form="Catalogue with recorded votes; empty for the synthetic sky.",
        ),
    ] = None
    images: Images = None
    column: Column = ()
    votes_are: VotesAre = None
    question: Annotated[
        str,
        Option(
            help="smooth, bar, another question of the tree, or all.",
            form="smooth, bar, a question of the tree, or all at once.",
        ),
    ] = "all"
    policies: Annotated[
        tuple[str, ...], Option(help="Names with commas; random is always one.", form="Policies side by side.")
    ] = ("random", "power_bald")
    seeds: Annotated[int, Option(help="Runs per policy.", ge=1, le=1000, shown=(1, None))] = 5
    rounds: Annotated[int, Option(help="Rounds after the first model.", ge=1, le=1000, shown=(1, None))] = 6
    initial: Annotated[int | None, Option(help="Galaxies labelled at random first.", ge=2)] = None
    batch: Annotated[int | None, Option(help="Galaxies chosen in each round.", ge=1)] = None
    pool: Annotated[
        int | None,
        Option(help="Galaxies to choose from [all].", form="Galaxies to choose from; empty for all.", ge=2),
    ] = None
    test: Annotated[
        int | None,
        Option(
            help="Galaxies that only judge [all that may].",
            form="Galaxies that only judge; empty for the whole stream.",
            ge=2,
        ),
    ] = None
    galaxies: Annotated[
        int | None,
        Option(help="Galaxies to use [all].", form="Galaxies of the catalogue to use; empty for all.", ge=20),
    ] = None
    unbiased_pool: Annotated[
        bool,
        Option(
            help="Choose from the catalogue's unbiased part only.",
            form="Choose from the unbiased part of the catalogue only.",
        ),
    ] = False
    tree: Annotated[
        str,
        Option(
            help="Question tree by name, or its file (.yaml, .json).",
            form="Question tree of the votes: a name, or a file where the flow runs.",
        ),
    ] = "gz2"
    stretch: Annotated[
        str,
        Option(
            help="How fluxes of FITS images become grey levels: plain, sdss, decals, hsc, euclid.",
            form="Stretch of FITS images.",
        ),
    ] = "plain"
    encoder: Annotated[
        Path | None,
        Option(
            help="Model whose trunk is kept: trainings fit heads only, in seconds.",
            form="Model whose trunk is kept; empty trains whole networks.",
        ),
    ] = None
    network: Annotated[str, Option(help="Network by name.")] = "small"
    px: Annotated[
        int | None,
        Option(
            help="Side that images are scaled to, px [by question].",
            form="Side that images are scaled to (px).",
            ge=16,
            le=1024,
        ),
    ] = None
    field: Annotated[
        float | None,
        Option(
            help="Central share of the side to see [by question].",
            form="Central share of the side that is seen.",
            gt=0,
            le=1,
            shown=(0.1, 1.0),
        ),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            help="Least gradient steps of a training [by question].",
            form="Least gradient steps of a training.",
            ge=1,
        ),
    ] = None
    passes: Annotated[
        float | None,
        Option(
            help="Least times that a training sees each labelled galaxy [by question].",
            form="Least times that a training sees each galaxy.",
            ge=0,
        ),
    ] = None
    mean_precision: Annotated[
        float | None,
        Option(
            help="Precision at which means are learned [by question].",
            form="Precision at which means are learned.",
            gt=0,
            shown=(0.01, None),
        ),
    ] = None
    device: Annotated[str, Option(help="torch device: cpu, cuda, auto.", form="torch device.")] = "auto"
    workers: Annotated[
        int,
        Option(help="Processes at a time [one per core].", form="Processes at a time; 0 takes one per core.", ge=0),
    ] = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class VotesOptions:
    """What a backfill of votes replays.

    Raises
    ------
    BadConfig
        An option is beyond its bounds; it is named.
    """

    out: Annotated[Path, Option(help="Folder of table, plot and summary; the same replay there goes on.")]
    data: Annotated[Path | None, Option(help="Catalogue with recorded votes; without it the synthetic sky.")] = None
    images: Images = None
    column: Column = ()
    votes_are: VotesAre = None
    galaxies: Annotated[int | None, Option(help="Galaxies to use [all].", ge=2)] = None
    tree: Annotated[str, Option(help="Question tree by name, or its file (.yaml, .json).")] = "gz2"
    stretch: Annotated[str, Option(help="How fluxes of FITS images become grey levels, as of a backfill.")] = "plain"
    questions: Annotated[
        tuple[str, ...], Option(help="Questions that must be known, with commas; all without any.")
    ] = ()
    confidence: Annotated[float, Option(help="Certainty of the majority at which asking ends, in (0.5, 1).")] = 0.95
    min_gain: Annotated[
        float, Option(help="Labels that each further vote must be expected to make right.", gt=0, shown=(1e-06, 1.0))
    ] = MIN_GAIN
    min_votes: Annotated[int, Option(help="Votes below which asking goes on.", ge=0)] = 3
    max_votes: Annotated[int, Option(help="Votes at which asking ends.", ge=1, le=1000)] = 40
    models: Annotated[
        tuple[str, ...],
        Option(help="Trained models, with commas, to predict the evaluation stream; none is trained."),
    ] = ()
    seeds: Annotated[int, Option(help="Times that all is drawn and trained anew.", ge=1, le=1000)] = 3
    folds: Annotated[int, Option(help="Parts, each predicted by a model of all others.", ge=2, le=100)] = 3
    network: Annotated[str, Option(help="Network by name.")] = "small"
    px: Annotated[int, Option(help="Side that images are scaled to (px).", ge=16, le=1024)] = 64
    field: Annotated[float, Option(help="Central share of the side to see.", gt=0, le=1, shown=(0.1, 1.0))] = 0.5
    steps: Annotated[int | None, Option(help="Gradient steps of a training.", ge=1)] = None
    epochs: Annotated[float | None, Option(help="Passes of a training over its galaxies.", ge=0.01)] = None
    batch: Annotated[int, Option(help="Galaxies per step.", ge=2)] = 64
    draws: Annotated[int, Option(help="Posterior draws.", ge=1, le=1000)] = 30
    survey: Annotated[int, Option(help="Galaxies of the survey whose cost is stated.", ge=1)] = 1_000_000
    per_day: Annotated[float, Option(help="Classifications a day of all volunteers.", gt=0, shown=(1, None))] = 30_000.0
    device: Annotated[str, Option(help="torch device: cpu, cuda, auto.")] = "auto"
    threads: Annotated[int | None, Option(help="CPU threads [all cores].", ge=1)] = None

    def __post_init__(self) -> None:
        check_options(self)

"""The report of a backfill: one HTML file that needs nothing else, and its plots as PNG files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
from jinja2 import Environment, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from alservice.science.scorecard_table import TextTable
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage.plot_style import ACCENT, INK, OTHERS, WARM, canvas, png, svg

_COLOURS: Final = (ACCENT, *OTHERS, "#4a5568")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PolicyCurve:
    """One policy as it is drawn: means over seeds and their 95 % intervals, by labels.

    Parameters
    ----------
    labels
        (R,) galaxies labelled.
    figure, low, high, nll
        (R,) the judged figure with its interval over seeds and galaxies, and the NLL per vote (nats).
    coverage_error
        (R,) at a tolerance of 0.10; NaN where undefined.
    fractions
        Per round, the volunteers' fractions of the judged answer among the galaxies chosen.
    """

    policy: str
    labels: Sequence[int]
    figure: FloatArray
    low: FloatArray
    high: FloatArray
    nll: FloatArray
    coverage_error: FloatArray
    fractions: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """A galaxy of a gallery: pixels (C, H, W) uint8, and what is said under it."""

    galaxy_id: str
    pixels: UInt8Array
    caption: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BackfillData:
    """What the report shows.

    Parameters
    ----------
    floor
        What a perfect prediction would have of the metric, from the noise of the votes.
    likelihood_floor
        The same of the NLL per vote (nats), where the metric is another.
    """

    title: str
    lead: str
    findings: Sequence[str]
    metric: str
    answer: str
    floor: float
    likelihood_floor: float | None
    curves: Sequence[PolicyCurve]
    tables: Sequence[tuple[str, TextTable]]
    galleries: Mapping[str, Sequence[Picture]]


def render_backfill(data: BackfillData) -> tuple[str, dict[str, bytes]]:
    """Return the page, and its plots as PNG bytes by file name."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters["png"] = _data_url
    source = resources.files("alservice.backfill").joinpath("templates", "backfill.html").read_text(encoding="utf-8")
    plots = [(name, title, caption, figure) for name, title, caption, figure in _figures(data)]
    svgs = [(title, caption, svg(figure)) for _, title, caption, figure in plots]
    page = environment.from_string(source).render(data=data, figures=svgs)
    return page, {f"{name}.png": png(figure) for name, _, _, figure in plots}


def _figures(data: BackfillData) -> list[tuple[str, str, str, Figure]]:
    figures = [_learning(data), _fractions(data), _calibration(data)]
    if data.likelihood_floor is not None:
        figures.insert(1, _likelihood(data, data.likelihood_floor))
    return figures


def _learning(data: BackfillData) -> tuple[str, str, str, Figure]:
    figure, axes = _canvas("galaxies labelled", data.metric)
    for curve, colour in _coloured(data):
        axes.plot(curve.labels, curve.figure, color=colour, marker="o", markersize=3, label=curve.policy)
        axes.fill_between(curve.labels, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    _draw_floor(axes, data.floor)
    axes.legend(frameon=False)
    caption = (
        f"{data.metric} on the test galaxies by galaxies labelled: mean over seeds, 95 % interval over seeds and "
        "galaxies; dotted, what a perfect prediction would have. Counterpart of Walmsley et al. (2020), figures 11 and "
        "12."
    )
    return "learning-curves", "What a label teaches", caption, figure


def _likelihood(data: BackfillData, floor: float) -> tuple[str, str, str, Figure]:
    figure, axes = _canvas("galaxies labelled", "NLL per vote [nats]")
    for curve, colour in _coloured(data):
        axes.plot(curve.labels, curve.nll, color=colour, marker="o", markersize=3, label=curve.policy)
    _draw_floor(axes, floor)
    axes.legend(frameon=False)
    caption = (
        "Negative log-likelihood per vote on the test galaxies, mean over seeds: it judges the error bars as well."
    )
    return "likelihood", "Likelihood of the votes", caption, figure


def _fractions(data: BackfillData) -> tuple[str, str, str, Figure]:
    figure, axes = _canvas("round", f"volunteers' fraction {data.answer}")
    width = 0.8 / len(data.curves)
    for place, (curve, colour) in enumerate(_coloured(data)):
        drawn = [(number, list(values)) for number, values in enumerate(curve.fractions) if len(values)]
        boxes = axes.boxplot(
            [values for _, values in drawn],
            positions=[number + (place + 0.5) * width - 0.4 for number, _ in drawn],
            widths=0.8 * width,
            patch_artist=True,
            manage_ticks=False,
            flierprops={"markersize": 2, "markeredgecolor": colour},
            medianprops={"color": INK},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=colour, alpha=0.55)
        boxes["boxes"][0].set_label(curve.policy)
    axes.set_xticks(range(max(len(curve.fractions) for curve in data.curves)))
    axes.legend(frameon=False)
    caption = (
        f"Volunteers' fraction of {data.answer} among the galaxies each round chose (round 0 is random). Counterpart "
        "of Walmsley et al. (2020), figures 13 and 14."
    )
    return "acquired-fractions", "Which galaxies were asked about", caption, figure


def _calibration(data: BackfillData) -> tuple[str, str, str, Figure]:
    figure, axes = _canvas("galaxies labelled", "coverage error at 0.10 [%]")
    axes.axhline(0, color=INK, linewidth=0.8)
    for curve, colour in _coloured(data):
        axes.plot(curve.labels, 100 * curve.coverage_error, color=colour, marker="o", markersize=3, label=curve.policy)
    axes.legend(frameon=False)
    caption = (
        f"Coverage error of {data.answer} (eq. 13), mean over seeds; above 0 the posteriors are overconfident. "
        "Counterpart of the calibration of Walmsley et al. (2020), tables 1 and 2, before and after."
    )
    return "calibration", "Calibration before and after", caption, figure


def _draw_floor(axes: Axes, floor: float) -> None:
    axes.axhline(floor, color=INK, linestyle=":", linewidth=1, label="noise of the votes alone")


def _coloured(data: BackfillData) -> list[tuple[PolicyCurve, str]]:
    others = iter(_COLOURS * (1 + len(data.curves) // len(_COLOURS)))
    return [(curve, WARM if curve.policy == "random" else next(others)) for curve in data.curves]


def _canvas(x: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = canvas()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _data_url(picture: Picture) -> str:
    pixels = np.moveaxis(picture.pixels, 0, -1)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

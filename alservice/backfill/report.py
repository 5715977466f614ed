"""Rounds of a backfill -> ``curves.csv``, ``savings.csv``, plots and ``report.html``."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from alservice.acquisition.votes import CostModel
from alservice.backfill.plan import Backfill, Target, target_of
from alservice.backfill.replay import Replay
from alservice.backfill.run import RoundFolder, open_replay, rounds_of
from alservice.backfill.savings import (
    CLASSIFICATIONS_PER_DAY,
    Runs,
    Saving,
    cost_table,
    curves_of,
    floor_table,
    gate_table,
    likelihood_floor,
    rounds_table,
    savings,
    savings_table,
    time_table,
    vote_noise,
)
from alservice.ids import seed_of
from alservice.offline.galaxies import VotedGalaxies
from alservice.science.scorecard import TextTable
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage.csv import csv_lines
from alservice.storage.plots import ACCENT, INK, OTHERS, WARM, canvas, png, svg
from alservice.storage.run_folder import write_whole

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


_PICTURES: Final = 12
_REPEATS: Final = 1000


def write_report(asked: Backfill, out: Path, folder: RoundFolder) -> str:
    """Write all files of a finished backfill; return the savings as a Markdown table.

    Raises
    ------
    BadConfig
        A round is not done.
    """
    target = target_of(load_tree(asked.tree), asked.plan.question)
    policies = rounds_of(asked, folder)
    replay = open_replay(asked, out)
    found = _savings(target, policies)
    table = savings_table(found)
    nll_floor = likelihood_floor(target, replay.test.counts)
    noise = vote_noise(target, replay.test.counts, min_votes=asked.plan.min_votes)
    floor = nll_floor if noise is None else noise
    floors = floor_table(policies, noise=noise, nll=nll_floor)
    data = BackfillData(
        title=f"Backfill of {asked.plan.question}: {', '.join(name for name, _ in policies)}",
        lead=_lead(asked, replay),
        findings=_findings(found),
        metric=target.metric,
        answer=target.tree.columns[target.answer or 0],
        floor=floor,
        likelihood_floor=None if target.answer is None else nll_floor,
        curves=[_curve(target, replay.pool, policy, runs) for policy, runs in policies],
        tables=[
            ("Labels saved", table),
            ("First and last round", rounds_table(policies)),
            ("Above the noise of the votes", floors),
            ("The gate", gate_table(policies)),
            ("Time", time_table(policies)),
            *_cost(asked, replay, policies, found),
        ],
        galleries=_galleries(replay, policies),
    )
    page, plots = render_backfill(data)
    write_whole(out / "curves.csv", _curves_csv(policies))
    write_whole(out / "savings.csv", _savings_csv(found))
    write_whole(out / "savings.txt", f"{table.text()}\n".encode())
    for name, content in plots.items():
        write_whole(out / name, content)
    write_whole(out / "report.html", page.encode())
    return table.markdown()


def _savings(target: Target, policies: Sequence[tuple[str, Runs]]) -> list[Saving]:
    is_root = target.answer is not None
    curves = {policy: curves_of(policy, runs, is_root=is_root) for policy, runs in policies}
    if len(curves["random"].labels) < 2:
        return []
    return [
        savings(
            curves["random"],
            curves[policy],
            metric=target.metric,
            rng=np.random.default_rng(seed_of(0, "savings", policy)),
            repeats=_REPEATS,
        )
        for policy in curves
        if policy != "random"
    ]


def _curve(target: Target, pool: VotedGalaxies, policy: str, runs: Runs) -> PolicyCurve:
    curves = curves_of(policy, runs, is_root=target.answer is not None)
    n_seeds, _, n_galaxies = curves.numerator.shape
    rng = np.random.default_rng(seed_of(0, "curve", policy))
    seeds = rng.integers(n_seeds, size=(_REPEATS, n_seeds))
    times = rng.multinomial(n_galaxies, np.full(n_galaxies, 1 / n_galaxies), size=_REPEATS).astype(np.float64)
    low, high = np.quantile(curves.resampled(seeds, times), [0.025, 0.975], axis=0)
    shares = _shares(target, pool)
    return PolicyCurve(
        policy=policy,
        labels=curves.labels.tolist(),
        figure=curves.by_seed().mean(axis=0),
        low=low,
        high=high,
        nll=np.array([[done.nll_per_vote for done in run] for run in runs]).mean(axis=0),
        coverage_error=np.array(
            [[np.nan if done.coverage_error is None else done.coverage_error for done in run] for run in runs]
        ).mean(axis=0),
        fractions=[
            [shares[choice.galaxy_id] for run in runs for choice in run[number].chosen]
            for number in range(len(runs[0]))
        ],
    )


def _shares(target: Target, galaxies: VotedGalaxies) -> dict[str, float]:
    answers = target.tree.slices[target.tree.question_of_answer[target.answer or 0]]
    counts = galaxies.counts[:, answers]
    shares = counts[:, (target.answer or 0) - answers.start] / counts.sum(axis=1)
    return dict(zip(galaxies.galaxy_ids, shares.tolist(), strict=True))


def _lead(asked: Backfill, replay: Replay) -> str:
    plan, training = asked.plan, asked.training
    source = "the synthetic sky" if asked.data is None else asked.data.name
    how = "from scratch" if asked.encoder is None else "of the heads alone, on the trunk of an earlier model,"
    return (
        f"{source}: {len(replay.pool.galaxy_ids):,} galaxies to choose from, {len(replay.test.galaxy_ids):,} to judge "
        f"by; {plan.initial} at random, then {plan.rounds} rounds of {plan.batch}; {asked.seeds} seeds. Network "
        f"{training.network.name} at {training.network.image_px} px (field {training.network.field:g}); each training "
        f"{how} has at least {training.steps} steps and {plan.passes:g} passes."
    )


def _findings(found: Sequence[Saving]) -> list[str]:
    return [
        f"{s.policy}: {100 * s.new_labels.value:+.0f} % of new labels saved at equal {s.metric} "
        f"[{100 * s.new_labels.low:+.0f}, {100 * s.new_labels.high:+.0f}], "
        f"{100 * s.all_labels.value:+.0f} % counting the initial set; better in {s.seeds_better} of {s.seeds} seeds."
        for s in found
    ]


def _cost(
    asked: Backfill, replay: Replay, policies: Sequence[tuple[str, Runs]], found: Sequence[Saving]
) -> list[tuple[str, TextTable]]:
    """Return the cost table of the policy that saves most; none where nothing was compared."""
    if not found:
        return []
    rounds = [done for _, runs in policies for run in runs for done in run[1:]]
    predicting = sum(done.seconds["predict"] for done in rounds if done.policy != "random")
    predicted = sum(len(replay.pool.galaxy_ids) - done.labels for done in rounds if done.policy != "random")
    model = CostModel(
        votes_per_galaxy=float(np.mean([done.votes / done.labels for done in rounds])),
        classifications_per_day=CLASSIFICATIONS_PER_DAY,
        training_s=float(np.mean([done.seconds["train"] for done in rounds])),
        predicted_per_s=predicted / predicting,
        trainings=asked.plan.rounds + 1,
    )
    best = max(found, key=lambda saving: saving.new_labels.value)
    return [("What it means for a survey", cost_table(model, best, asked.plan.rounds * asked.plan.batch))]


def _galleries(replay: Replay, policies: Sequence[tuple[str, Runs]]) -> dict[str, list[Picture]]:
    """Return the galaxies that the first informative policy's last model would ask about first, and last."""
    informative = next(((policy, runs[0]) for policy, runs in policies if policy != "random"), None)
    if informative is None:
        return {}
    policy, run = informative
    ids, scores = replay.ranked(policy, run)
    place = {galaxy_id: row for row, galaxy_id in enumerate(replay.pool.galaxy_ids)}
    shares = _shares(replay.target, replay.pool)

    def pictures(rows: Iterable[int]) -> list[Picture]:
        return [
            Picture(
                galaxy_id=ids[row],
                pixels=replay.pool.images[place[ids[row]]],
                caption=f"score {scores[row]:.3g}, volunteers {shares[ids[row]]:.0%}",
            )
            for row in rows
        ]

    note = f"{policy}, seed 0 (Walmsley et al. 2020, figures 15 and 16)"
    return {
        f"Most informative galaxies: {note}": pictures(range(min(_PICTURES, len(ids)))),
        f"Least informative galaxies: {note}": pictures(range(max(0, len(ids) - _PICTURES), len(ids))),
    }


def _curves_csv(policies: Sequence[tuple[str, Runs]]) -> bytes:
    head = ("policy", "seed", "round", "labels", "votes", "nll_per_vote", "rmse", "coverage_error_10", "verdict")
    rows = [
        (
            policy,
            done.seed,
            number,
            done.labels,
            done.votes,
            done.nll_per_vote,
            done.rmse,
            done.coverage_error,
            done.verdict,
        )
        for policy, runs in policies
        for run in runs
        for number, done in enumerate(run)
    ]
    return _csv(head, rows)


def _savings_csv(found: Sequence[Saving]) -> bytes:
    head = ("policy", "metric", "counted", "saving", "low", "high", "best", "at_end", "gain", "seeds_better", "seeds")
    rows = [
        (s.policy, s.metric, counted, e.value, e.low, e.high, s.best, s.at_end, s.gain.value, s.seeds_better, s.seeds)
        for s in found
        for counted, e in (("new", s.new_labels), ("all", s.all_labels))
    ]
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    return "".join(csv_lines([head, *rows])).encode()

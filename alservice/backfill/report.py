"""Rounds of a backfill -> ``curves.csv``, ``savings.csv``, plots and ``report.html``."""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, select_autoescape
from PIL import Image

from alservice import plots
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
from alservice.plots import (
    LEFT,
    RIGHT,
    SERIES,
    WIDTH,
    Mark,
    Picture,
    Slots,
    band,
    frame,
    horizontal,
    legend,
    vertical,
    x_ticks,
)
from alservice.science.scorecard import TextTable
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage.csv import csv_lines
from alservice.storage.run_folder import write_whole

RANDOM: Final = "b"
"""Colour of the policy that all others are compared with."""


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
class GalleryPicture:
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
    galleries: Mapping[str, Sequence[GalleryPicture]]


def render_backfill(data: BackfillData) -> tuple[str, dict[str, bytes]]:
    """Return the page, and its plots as PNG bytes by file name."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters["png"] = _data_url
    source = resources.files("alservice.backfill").joinpath("templates", "backfill.html").read_text(encoding="utf-8")
    drawn = _figures(data)
    page = environment.from_string(source).render(data=data, figures=list(drawn.values()))
    return page, {f"{name}.png": figure.png() for name, figure in drawn.items()}


def _figures(data: BackfillData) -> dict[str, Picture]:
    drawn = {"learning-curves": _learning(data)}
    if data.likelihood_floor is not None:
        drawn["likelihood"] = _likelihood(data, data.likelihood_floor)
    return drawn | {"acquired-fractions": _fractions(data), "calibration": _calibration(data)}


def _learning(data: BackfillData) -> Picture:
    said = (
        f"{data.metric} on the test galaxies by galaxies labelled: mean over seeds, 95 % interval over seeds and "
        "galaxies; dashed, what a perfect prediction would have. Counterpart of Walmsley et al. (2020), figures 11 and "
        "12."
    )
    bands = [(curve.low, curve.high) for curve in data.curves]
    means = [curve.figure for curve in data.curves]
    return _by_labels(data, "What a label teaches", said, data.metric, means, rule=data.floor, bands=bands)


def _likelihood(data: BackfillData, floor: float) -> Picture:
    said = "Negative log-likelihood per vote on the test galaxies, mean over seeds: it judges the error bars as well."
    means = [curve.nll for curve in data.curves]
    return _by_labels(data, "Likelihood of the votes", said, "NLL per vote [nats]", means, rule=floor)


def _calibration(data: BackfillData) -> Picture:
    said = (
        f"Coverage error of {data.answer} (eq. 13), mean over seeds; above 0 the posteriors are overconfident. "
        "Counterpart of the calibration of Walmsley et al. (2020), tables 1 and 2, before and after."
    )
    errors = [100 * curve.coverage_error for curve in data.curves]
    return _by_labels(
        data, "Calibration before and after", said, "coverage error at 0.10 [%]", errors, rule=0.0, name=""
    )


def _by_labels(
    data: BackfillData,
    title: str,
    said: str,
    label: str,
    values: Sequence[FloatArray],
    *,
    rule: float,
    name: str = "noise of the votes alone",
    bands: Sequence[tuple[FloatArray, FloatArray]] = (),
) -> Picture:
    """Return one line per policy by galaxies labelled, with intervals, and a rule at what is best."""
    kinds = _kinds(data)
    edges = [float(v) for both in bands for edge in both for v in edge]
    y = vertical([v for v in (rule, *edges, *(float(v) for line in values for v in line)) if math.isfinite(v)])
    x = horizontal([float(n) for curve in data.curves for n in curve.labels])
    marks = [*frame(y, label), *x_ticks(x, "galaxies labelled")]
    for curve, kind, (low, high) in zip(data.curves, kinds, bands, strict=False):
        marks.append(band(x, y, _points(curve, low), _points(curve, high), kind))
    for curve, kind, line in zip(data.curves, kinds, values, strict=True):
        marks += plots.curve(x, y, _points(curve, line), kind)
    marks.append(plots.line(LEFT, y.at(rule), WIDTH - RIGHT, y.at(rule), "rule"))
    marks.append(plots.text(WIDTH - RIGHT, y.at(rule) - 4, name, "tick end"))
    return Picture(title=title, said=said, marks=(*marks, *_legend(data)))


def _points(curve: PolicyCurve, values: FloatArray) -> list[tuple[float, float]]:
    return [(float(n), float(v)) for n, v in zip(curve.labels, values, strict=True) if math.isfinite(v)]


def _fractions(data: BackfillData) -> Picture:
    kinds, label = _kinds(data), f"volunteers' fraction {data.answer}"
    rounds = max(len(curve.fractions) for curve in data.curves)
    y, slots = vertical([0.0, 1.0]), Slots(names=list(map(str, range(rounds))))
    marks = [*frame(y, label), *slots.marks("round"), *_legend(data)]
    width = 0.8 / len(data.curves)
    for number, (curve, kind) in enumerate(zip(data.curves, kinds, strict=True)):
        for place, values in enumerate(curve.fractions):
            if len(values):
                at = slots.at(place, 0.1 + (number + 0.5) * width)
                marks += plots.box(at, 0.8 * width * slots.width, y, list(map(float, values)), kind)
    said = (
        f"Volunteers' fraction of {data.answer} among the galaxies each round chose (round 0 is random). Counterpart "
        "of Walmsley et al. (2020), figures 13 and 14."
    )
    return Picture(title="Which galaxies were asked about", said=said, marks=tuple(marks))


def _legend(data: BackfillData) -> list[Mark]:
    return legend((kind, curve.policy) for curve, kind in zip(data.curves, _kinds(data), strict=True))


def _kinds(data: BackfillData) -> list[str]:
    """Return a colour per policy; that of random is the same in every backfill."""
    others = itertools.cycle([kind for kind in SERIES if kind != RANDOM])
    return [RANDOM if curve.policy == "random" else next(others) for curve in data.curves]


def _data_url(picture: GalleryPicture) -> str:
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
    target = target_of(asked.tree, asked.plan.question)
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


def _galleries(replay: Replay, policies: Sequence[tuple[str, Runs]]) -> dict[str, list[GalleryPicture]]:
    """Return the galaxies that the first informative policy's last model would ask about first, and last."""
    informative = next(((policy, runs[0]) for policy, runs in policies if policy != "random"), None)
    if informative is None:
        return {}
    policy, run = informative
    ids, scores = replay.ranked(policy, run)
    place = {galaxy_id: row for row, galaxy_id in enumerate(replay.pool.galaxy_ids)}
    shares = _shares(replay.target, replay.pool)

    def pictures(rows: Iterable[int]) -> list[GalleryPicture]:
        return [
            GalleryPicture(
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

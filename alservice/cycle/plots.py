"""Plots of a report as SVG text; the same data gives the same picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alservice.acquisition.batch_records import Arm
from alservice.cycle.report_core import ReportData
from alservice.cycle.table import CycleTable
from alservice.science.tree_information import score_note
from alservice.storage.plot_style import ACCENT, INK, OTHERS, PALE, WARM, canvas, svg

ARM_COLOURS = (ACCENT, WARM, *OTHERS)
"""In the order of `Arm`; what only a newer version knows is drawn in `PALE`."""

Plot = tuple[str, str, str]
"""Title, caption that says what is seen, SVG."""


def figures(data: ReportData) -> Iterator[Plot]:
    """Yield the plots that the data allow; an empty one is left out."""
    yield learning(data.table)
    yield _errors(data)
    if any(data.scores_by_cycle.values()):
        title, caption, plot = _arms("Scores acquired", "score of the galaxies [nats]", data.scores_by_cycle)
        yield title, f"{caption} {score_note(data.n_draws)}", plot
    if any(data.smooth_by_cycle.values()):
        yield _arms("Vote fractions acquired", f"volunteers' fraction {data.answer}", data.smooth_by_cycle)
    if any(data.history_by_cycle.values()):
        yield _training(data)
    if data.coverage:
        yield _coverage(data)


def learning(table: CycleTable) -> Plot:
    """Return the learning curve: what each candidate made of the labels it had."""
    lines = [line for line in table.lines if line.nll_per_vote is not None]
    figure, axes = canvas()
    x = [line.galaxies_labelled or 0 for line in lines]
    y = [line.nll_per_vote or 0.0 for line in lines]
    low = [v - (line.nll_low or v) for v, line in zip(y, lines, strict=True)]
    high = [(line.nll_high or v) - v for v, line in zip(y, lines, strict=True)]
    axes.errorbar(x, y, yerr=[low, high], color=ACCENT, marker="o", capsize=3, label="candidate")
    for at, value, line in zip(x, y, lines, strict=True):
        axes.annotate(f"cycle {line.cycle}", (at, value), textcoords="offset points", xytext=(6, 6), color=INK)
    axes.set_xlabel("galaxies labelled")
    axes.set_ylabel("NLL per vote [nats]")
    caption = "Negative log-likelihood per vote of each candidate on the evaluation stream, with 95 % intervals."
    return "What the votes taught", caption, svg(figure)


def _errors(data: ReportData) -> Plot:
    figure, axes = canvas()
    cycles = [line.cycle for line in data.table.lines]
    for name, colour, values in (
        ("Smooth", ACCENT, [line.rmse_smooth for line in data.table.lines]),
        ("Bar", WARM, [line.rmse_bar for line in data.table.lines]),
    ):
        known = [(c, v) for c, v in zip(cycles, values, strict=True) if v is not None]
        axes.plot([c for c, _ in known], [v for _, v in known], color=colour, marker="o", label=name)
    axes.set_xlabel("cycle")
    axes.set_xticks(cycles)
    axes.set_ylabel("RMSE of the vote fraction")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return "Error of the vote fractions", "Root mean square error on the evaluation stream.", svg(figure)


def _arms(title: str, label: str, values: Mapping[int, Mapping[str, Sequence[float]]]) -> Plot:
    figure, axes = canvas()
    cycles = sorted(values)
    colours = dict(zip(map(str, Arm), ARM_COLOURS, strict=False))
    drawn = {arm for by_arm in values.values() for arm, figures in by_arm.items() if len(figures)}
    seen = [*(arm for arm in colours if arm in drawn), *sorted(drawn.difference(colours))]
    for place, arm in enumerate(seen):
        colour = colours.get(arm, PALE)
        shift = 0.68 * ((place + 0.5) / len(seen) - 0.5)
        boxes = axes.boxplot(
            [list(values[c][arm]) for c in cycles if len(values[c].get(arm, ()))],
            positions=[c + shift for c in cycles if len(values[c].get(arm, ()))],
            widths=0.56 / len(seen),
            patch_artist=True,
            manage_ticks=False,
            flierprops={"markersize": 2, "markeredgecolor": colour},
            medianprops={"color": INK},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=colour, alpha=0.55)
        boxes["boxes"][0].set_label(arm)
    axes.set_xticks(cycles)
    axes.set_xlabel("cycle")
    axes.set_ylabel(label)
    axes.legend(frameon=False)
    return title, f"Each cycle's batch, {' beside '.join(f'{arm} arm' for arm in seen)}: {label}.", svg(figure)


def _training(data: ReportData) -> Plot:
    figure, axes = canvas()
    drawn = {cycle: history for cycle, history in data.history_by_cycle.items() if history}
    for number, (cycle, history) in enumerate(sorted(drawn.items())):
        shade = 0.35 + 0.65 * (number + 1) / len(drawn)
        steps = [point["step"] for point in history]
        axes.plot(steps, [point["hold_out"] for point in history], color=ACCENT, alpha=shade, label=f"cycle {cycle}")
    axes.set_xlabel("gradient step")
    axes.set_ylabel("hold-out NLL per galaxy [nats]")
    axes.legend(frameon=False, fontsize="small")
    return "Training curves", "Loss on the training stream's own hold-out, one curve per cycle.", svg(figure)


def _coverage(data: ReportData) -> Plot:
    figure, axes = canvas()
    tolerances = sorted(data.coverage)
    axes.bar([f"{t:.2f}" for t in tolerances], [100 * data.coverage[t] for t in tolerances], color=ACCENT, width=0.5)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("tolerance on the vote fraction")
    axes.set_ylabel("coverage error [%]")
    caption = (
        f"Coverage error of the last model for {data.answer} (Walmsley 2020, eq. 11-13): "
        "0 is perfect, above 0 is overconfident."
    )
    return "Calibration", caption, svg(figure)

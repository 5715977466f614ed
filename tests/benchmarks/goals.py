"""Train on the real galaxies, judge on the 1,500 of the evaluation stream, print the table of goals.

``python -m tests.benchmarks.goals --small`` fits into 20 minutes of 2 idle cores; ``--full --device cuda`` is meant for a
GPU; ``--tiny`` shows in a minute that the command works. Interrupted, the same command goes on. ``--learning-curve``
trains on 512, 2,048 and 8,192 galaxies too, and says what more galaxies would bring. All files go to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure as MatplotlibFigure

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, is_evaluation_member
from alservice.network.architectures import NetworkConfig, optimiser_of
from alservice.network.config import FitConfig, decay_of, precision_name, resolve_device
from alservice.network.sampling import sample_posterior
from alservice.offline.commands import DRAWS, EVALUATION_SEED, evaluation_files, reader, train_on_file
from alservice.offline.galaxies import VotedGalaxies
from alservice.offline.plots import training_curve
from alservice.offline.training import evaluate_network, load_model
from alservice.progress import process_progress
from alservice.science.bootstrap import Estimate, Figure
from alservice.science.evaluation import TOLERANCES, Evaluation, coverage_error
from alservice.science.posterior import fraction_draws
from alservice.science.scorecard import TextTable
from alservice.science.tree import load_tree
from alservice.telemetry import code_revision, configure_logging
from tests.benchmarks.figures import plain, svg
from tests.support.shared import shared_data

TREE = load_tree("gz2")
SMOOTH, BAR = "smooth-or-featured_smooth", "bar_yes"
PAPER = {SMOOTH: (16.5, 13.4, 9.4, 5.4), BAR: (45.5, 42.4, 29.2, 11.8)}
"""Coverage errors with MC dropout (percent), Walmsley et al. 2020, tables 1 and 2."""

SIZES = (512, 2048, 8192)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the benchmark trains.

    Parameters
    ----------
    galaxies
        Rows of the file to use, None for all.
    timed
        Images whose draws are timed.
    fewest_steps
        Gradient steps of a small training set, whose passes are many and cheap.
    """

    px: int
    field: float
    batch: int
    epochs: float
    fewest_steps: int
    galaxies: int | None = None
    timed: int = 256


SETTINGS = {
    "tiny": Setting(px=64, field=0.5, batch=16, epochs=2, fewest_steps=10, galaxies=1200, timed=16),
    "small": Setting(px=128, field=0.5, batch=64, epochs=40, fewest_steps=1500),
    "full": Setting(px=160, field=0.6, batch=64, epochs=90, fewest_steps=3000),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train what is not trained yet, write ``goals.md``, plots and figures; return the figures."""
    configure_logging()
    options = _options(arguments)
    setting = SETTINGS[options.setting]
    data = shared_data() / "gz2_kaggle.parquet"
    out: Path = options.out / f"{options.setting}-{options.network}-{options.seed}"
    out.mkdir(parents=True, exist_ok=True)
    members = _members(data, setting)
    found = _one(data, out / "all", setting, setting.galaxies, options, members)
    curve = [found["line"]]
    if options.learning_curve:
        sizes = SIZES if setting.galaxies is None else (setting.galaxies // 4,)
        curve += [_one(data, out / f"n{n}", setting, n, options, members)["line"] for n in sizes]
        curve.sort(key=lambda line: line["galaxies"])
    _write(out, setting, options, found, curve)
    print((out / "goals.md").read_text(encoding="utf-8"))
    return found


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SETTINGS:
        parser.add_argument(f"--{name}", dest="setting", action="store_const", const=name, default="small")
    parser.add_argument("--network", default="compact")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, help="other than the setting's")
    parser.add_argument("--hold-out", type=float, default=0.1, help="share that chooses the state and temperatures")
    parser.add_argument("--learning-curve", action="store_true")
    parser.add_argument(
        "--out", type=Path, default=Path("alservice-work/goals"), help="folder of models, plots, tables"
    )
    return parser.parse_args(arguments)


def _members(data: Path, setting: Setting) -> VotedGalaxies:
    """Return the evaluation stream: all of it, whatever is trained on."""
    read = reader(open_catalogue(data, TREE), TREE, size_px=setting.px, channels=1, progress=process_progress())

    def rows() -> Iterator[CatalogueRow | CatalogueFault]:
        for row in open_catalogue(data, TREE).rows():
            if isinstance(row, CatalogueFault) or is_evaluation_member(
                row.galaxy_id, unbiased=row.unbiased, seed=EVALUATION_SEED, fraction=read.evaluation_fraction
            ):
                yield row

    members, faults = read.run(rows(), total=1500)
    assert not faults
    assert members.evaluation.all()
    return members


def _one(
    data: Path,
    folder: Path,
    setting: Setting,
    galaxies: int | None,
    options: argparse.Namespace,
    members: VotedGalaxies,
) -> dict[str, Any]:
    """Train on so many rows, unless a folder has the model already, and judge it."""

    def config(n_rows: int) -> FitConfig:
        epochs = setting.epochs if options.epochs is None else options.epochs
        steps = max(setting.fewest_steps, round(epochs * n_rows / setting.batch))
        return FitConfig(
            network=NetworkConfig.of(options.network, channels=1, image_px=setting.px, field=setting.field),
            steps=steps,
            batch=setting.batch,
            weight_decay=decay_of(steps),
            optimiser=optimiser_of(options.network),
            precision=precision_name("auto", resolve_device(options.device)),
            hold_out=options.hold_out,
            looks=20,
            threads=options.threads,
            seed=options.seed,
        )

    began = time.monotonic()
    try:
        trained = train_on_file(data, folder, tree=TREE, config=config, galaxies=galaxies, device=options.device)
    finally:  # also of a run that is interrupted by Ctrl-C, so that the sum is what was spent
        seconds = _add_seconds(folder.with_suffix(".seconds"), time.monotonic() - began)
    network, digest = load_model(folder, device=options.device)
    device = str(network.temperature.device)
    card, posterior = evaluate_network(network, members, model=digest, draws=DRAWS, device=device)
    k_and_n = {
        column: np.stack([members.counts[:, TREE.column(column)], _asked(members, column)], axis=1)
        for column in (SMOOTH, BAR)
    }
    drawn = fraction_draws(TREE, posterior, seed=0)
    from_draws = {}
    for column, votes in k_and_n.items():
        rows = votes[:, 1] >= card.min_votes
        from_draws[column] = coverage_error(drawn[rows][:, :, TREE.column(column)], votes[rows], TOLERANCES)
    rmse = [card.answer(column).fractions.rmse for column in (SMOOTH, BAR)]
    return {
        "card": card,
        "training": trained.card,
        "seconds": seconds,
        "draws": _cost_of_draws(network, members.images[: setting.timed], device),
        "from_draws": from_draws,
        "line": {
            "galaxies": trained.card["n_galaxies"],
            "smooth": rmse[0],
            "bar": rmse[1],
            "cumulative": card.cumulative_rmse,
            "nll": card.nll_per_vote,
        },
    }


def _asked(members: VotedGalaxies, column: str) -> np.ndarray:
    return members.counts[:, TREE.slices[TREE.question_of_answer[TREE.column(column)]]].sum(axis=1)


def _cost_of_draws(network: Any, images: np.ndarray, device: str, *, repeats: int = 5) -> float:
    """Return the time of 30 draws over that of one, alternating, by medians."""
    seconds: dict[int, list[float]] = {1: [], DRAWS: []}
    for _ in range(repeats):
        for draws, times in seconds.items():
            began = time.perf_counter()
            sample_posterior(network, images, draws=draws, seed=0, device=device)
            times.append(time.perf_counter() - began)
    return statistics.median(seconds[DRAWS]) / statistics.median(seconds[1])


def _add_seconds(path: Path, seconds: float) -> float:
    total = seconds + (float(path.read_text()) if path.exists() else 0.0)
    path.write_text(f"{total:.1f}")
    return total


def percent_interval(figure: Figure | None) -> str:
    """Return a figure as signed percent with its interval."""
    if figure is None:
        return "-"
    low, high = figure.ends
    return f"{100 * figure.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def goals_table(card: Evaluation, *, draws_cost: float, from_draws: dict[str, np.ndarray]) -> TextTable:
    """Return the figures beside the sources' and the goals."""
    smooth, bar = (card.answer(column).fractions for column in (SMOOTH, BAR))
    rows = [
        _goal("RMSE of the Smooth fraction", "0.10 (176k galaxies)", 0.14, smooth.rmse),
        _goal(f"RMSE of the Bar fraction ({bar.n_judged} galaxies asked by >= 10 of 44)", "0.15 (56k)", 0.17, bar.rmse),
        _goal(
            "RMSE over the 37 cumulative fractions", "0.0767 one net, 0.0747 seventeen", 0.0767, card.cumulative_rmse
        ),
    ]
    for name, figures_, column in (("Smooth", smooth, SMOOTH), ("Bar", bar, BAR)):
        for place, tolerance in enumerate(TOLERANCES):
            source, error = PAPER[column][place], figures_.coverage_error[place]
            drawn = 100 * float(from_draws[column][place])
            met = error is not None and abs(100 * error.value) <= source / 2
            found = f"{percent_interval(error)}; {drawn:+.1f} from 30 saved draws"
            name_ = f"coverage error {name} at {tolerance:.2f} [%]"
            rows.append((name_, f"{source}", f"+-{source / 2:.2f}", found, "yes" if met else "no"))
    rows.append(
        ("cost of 30 draws over 1", "about 30", "<= 1.2", f"{draws_cost:.2f}", "yes" if draws_cost <= 1.2 else "no")
    )
    return TextTable(title="Goals", head=("figure", "source", "goal", "found [95 %]", "met"), rows=tuple(rows))


def _goal(name: str, source: str, goal: float, found: Estimate | None) -> tuple[str, ...]:
    if found is None:
        return name, source, f"<= {goal}", "-", "no"
    met = "yes" if found.value <= goal else f"no, by {found.value - goal:.4f}"
    return name, source, f"<= {goal}", _interval(found), met


def _interval(found: Estimate | None) -> str:
    return "-" if found is None else f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def _write(
    out: Path, setting: Setting, options: argparse.Namespace, found: dict[str, Any], curve: list[dict[str, Any]]
) -> None:
    card: Evaluation = found["card"]
    training = found["training"]
    table = goals_table(card, draws_cost=found["draws"], from_draws=found["from_draws"])
    steps, n = training["training"]["steps"], training["n_galaxies"]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and options.device != "cpu" else "CPU"
    temperatures = zip(TREE.questions, _temperatures(out / "all"), strict=True)
    facts = (
        f"Trained on {n:,} galaxies for {steps:,} steps of {setting.batch}; images {setting.px} px, central "
        f"{setting.field:g} of the side, grey; judged on {card.n_galaxies:,} galaxies of the evaluation stream. "
        f"Reading, training and judging took {found['seconds'] / 60:.1f} minutes on {device}, {os.cpu_count()} cores "
        f"({options.threads} threads, load now {load}), {platform.machine()}, {code_revision()}."
    )
    notes = (
        f"NLL per vote {_interval(card.nll_per_vote)} nats. Coverage is of Dirichlet-multinomial votes under 30 draws; "
        "above 0 is overconfident. Temperatures per question, fitted on the hold-out of the training galaxies: "
        + ", ".join(f"{question.name} {value:.2f}" for question, value in temperatures)
        + "."
    )
    title = f"# Goals: `{options.network}`, setting {options.setting}, seed {options.seed}"
    lines = [title, "", facts, "", table.markdown(), "", notes]
    if len(curve) > 1:
        head = ("galaxies", "RMSE Smooth", "RMSE Bar", "RMSE 37", "NLL per vote [nats]")
        cells = [
            (f"{line['galaxies']:,}", *(_interval(line[name]) for name in ("smooth", "bar", "cumulative", "nll")))
            for line in curve
        ]
        lines += ["", "## Learning curve", "", TextTable(title="", head=head, rows=tuple(cells)).markdown(), ""]
        lines.append(_outlook(curve))
        (out / "learning-curve.svg").write_bytes(_curve_plot(curve))
    (out / "goals.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, content in {**evaluation_files(TREE, card), **training_curve(training["history"])}.items():
        (out / name).write_bytes(content)
    (out / "goals.json").write_text(
        json.dumps([dict(zip(table.head, row, strict=True)) for row in table.rows], indent=1)
    )


def _temperatures(folder: Path) -> list[float]:
    network, _ = load_model(folder, device="cpu")
    return [float(value) for value in network.temperature]


def _outlook(curve: list[dict[str, Any]]) -> str:
    """Say what the last step of the curve, drawn on as a power law, promises of twice the galaxies."""
    (first, last), parts = curve[-2:], []
    for name, goal in (("smooth", 0.14), ("bar", 0.17), ("cumulative", 0.0767)):
        if first[name] is None or last[name] is None:
            continue
        power = np.log(first[name].value / last[name].value) / np.log(last["galaxies"] / first["galaxies"])
        twice = last[name].value * 2.0**-power
        parts.append(f"{name} falls as N^-{power:.2f}: {twice:.4f} with twice as many (goal {goal})")
    return "Between the last two sizes " + "; ".join(parts) + "."


def _curve_plot(curve: list[dict[str, Any]]) -> bytes:
    figure = MatplotlibFigure(figsize=(6.4, 3.6), layout="constrained")
    axes = plain(figure.subplots())
    for name, label in (("smooth", "Smooth"), ("bar", "Bar"), ("cumulative", "37 cumulative fractions")):
        known = [(line["galaxies"], line[name]) for line in curve if line[name] is not None]
        errors = [[e.value - e.low for _, e in known], [e.high - e.value for _, e in known]]
        axes.errorbar(
            [n for n, _ in known], [e.value for _, e in known], yerr=errors, marker="o", capsize=3, label=label
        )
    axes.set(xscale="log", xlabel="galaxies trained on", ylabel="RMSE of the vote fraction", ylim=(0, None))
    axes.legend(frameon=False)
    return svg(figure).encode()


if __name__ == "__main__":
    main()

"""The loop replayed on historical votes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import AsJson, print_json, use


def backfill(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of curves, savings and report; the same backfill goes on.")
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="Catalogue with recorded votes; without it the synthetic sky.")
    ] = None,
    question: Annotated[
        str, typer.Option("--question", help="smooth, bar, another question of the tree, or all.")
    ] = "all",
    policies: Annotated[str, typer.Option("--policies", help="Names with commas; random is always one.")] = (
        "random,power_bald"
    ),
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs per policy.")] = 5,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds after the first model.")] = 6,
    initial: Annotated[int | None, typer.Option("--initial", min=2, help="Galaxies labelled at random first.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Galaxies chosen in each round.")] = None,
    pool: Annotated[int | None, typer.Option("--pool", min=2, help="Galaxies to choose from [all].")] = None,
    test: Annotated[int | None, typer.Option("--test", min=2, help="Galaxies that only judge [all that may].")] = None,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=20, help="Galaxies to use [all].")] = None,
    unbiased_pool: Annotated[
        bool, typer.Option("--unbiased-pool", help="Choose from the catalogue's unbiased part only.")
    ] = False,
    tree: Annotated[str, typer.Option("--tree", help="Question tree.")] = "gz2",
    encoder: Annotated[
        Path | None, typer.Option("--encoder", help="Model whose trunk is kept: trainings fit heads only, in seconds.")
    ] = None,
    network: Annotated[str, typer.Option("--network", help="Network by name.")] = "small",
    px: Annotated[
        int | None, typer.Option("--px", min=16, max=1024, help="Side that images are scaled to, px [by question].")
    ] = None,
    field: Annotated[
        float | None, typer.Option("--field", min=0.1, max=1.0, help="Central share of the side to see [by question].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Least gradient steps of a training [by question].")
    ] = None,
    passes: Annotated[
        float | None,
        typer.Option("--passes", min=0, help="Least times that a training sees each labelled galaxy [by question]."),
    ] = None,
    mean_precision: Annotated[
        float | None,
        typer.Option("--mean-precision", min=0.01, help="Precision at which means are learned [by question]."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="torch device: cpu, cuda, auto.")] = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes at a time [one per core].")] = 0,
    as_json: AsJson = False,
) -> None:
    """Replay the loop over historical votes, policies side by side, and say how many labels each saves."""
    use(None, prefect=True)
    from flows.backfill import BackfillParameters, run_here

    names = tuple(dict.fromkeys(["random", *(name.strip() for name in policies.split(",") if name.strip())]))
    report = run_here(
        BackfillParameters(
            data=data,
            out=out.resolve(),
            tree=tree,
            question=question,
            policies=names,
            seeds=seeds,
            rounds=rounds,
            initial=initial,
            batch=batch,
            pool=pool,
            test=test,
            galaxies=galaxies,
            unbiased_pool=unbiased_pool,
            encoder=encoder,
            network=network,
            px=px,
            field=field,
            steps=steps,
            passes=passes,
            mean_precision=mean_precision,
            device=device,
            workers=workers,
        )
    )
    if as_json:
        print_json([{"report": str(report)}])
    else:
        typer.echo((report.parent / "savings.txt").read_text(encoding="utf-8"), nl=False)
        typer.echo(f"report: {report}")

"""Commands on files, without a campaign: train, predict, evaluate, backfills, and data to replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from alservice.backfill.options import BackfillOptions, VotesOptions
from alservice.cli.shell import (
    AsJson,
    Column,
    Images,
    VotesAre,
    print_json,
    print_table,
    read_as,
    say_understood,
    use,
    with_options,
)

if TYPE_CHECKING:
    from alservice.engines import Engine
    from alservice.network.architectures import HeadName
    from alservice.network.config import FitConfig
    from alservice.offline.commands import TrainedModel, TrainingOptions


Device = Annotated[
    str | None, typer.Option("--device", help="torch device: cpu, cuda, cuda:1, auto [ALSERVICE_DEVICE; default auto].")
]
SHOWN = 20
"""Names and faults that are printed; files have all."""


def train(
    data: Annotated[Path, typer.Option("--data", help="Galaxies with images and votes: a table of any format.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model; an interrupted run there goes on.")],
    tree: Annotated[
        str | None, typer.Option("--tree", help="Question tree: a name such as gz2, or a file (.yaml, .json).")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="In place of a tree: column of numbers to learn on --encoder, such as a size."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Column with an answer per galaxy, in place of columns of votes.")
    ] = None,
    network: Annotated[str, typer.Option("--network", help="Network by name.")] = "compact",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root of every random draw.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Gradient steps.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", min=0.01, help="Passes over the galaxies.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=2, help="Galaxies per step [64; on an encoder 8 to 64].")
    ] = None,
    px: Annotated[int, typer.Option("--px", min=16, max=1024, help="Side that images are scaled to (px).")] = 128,
    field: Annotated[float, typer.Option("--field", min=0.1, max=1.0, help="Central share of the side to see.")] = 0.5,
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out", min=0.01, max=0.5, help="Share that chooses the state and its temperatures [0.1; 0.2]."
        ),
    ] = None,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=4, help="Use a seeded subset.")] = None,
    ensemble: Annotated[
        int, typer.Option("--ensemble", min=1, help="Train so many networks; they predict as one.")
    ] = 1,
    device: Device = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads [all cores].")] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="Of the trunk's products: float32, bfloat16, auto (the faster one).")
    ] = "auto",
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder", help="Start from this: a model of ours, of any tree, or weights of a timm or Zoobot encoder."
        ),
    ] = None,
    head: Annotated[
        str, typer.Option("--head", help="dropout, or laplace: in closed form on the embeddings of --encoder.")
    ] = "dropout",
    unfreeze: Annotated[
        int | None,
        typer.Option("--unfreeze", min=0, help="Blocks of --encoder that learn, from the top; 0: heads alone [all]."),
    ] = None,
    stretch: Annotated[
        str, typer.Option("--stretch", help="How fluxes of FITS images become grey: plain, sdss, decals, hsc, euclid.")
    ] = "plain",
    images: Images = None,
    column: Column = None,
    votes_are: VotesAre = None,
) -> None:
    """Train on every galaxy outside the evaluation stream, and judge the model on the stream.

    The folder gets weights, a card (configuration, digests, metrics, curve), plots, and the rows that failed. An
    ensemble has such a folder for each member, whose seeds count up from --seed. Several GPUs: put `torchrun
    --standalone --nproc-per-node 4 --no-python` before the command. With --target a number per galaxy is learned, in
    closed form on the frozen encoder, and predicted with its error.
    """
    use(None)
    from alservice.campaigns.trees import load_tree
    from alservice.engines import LOCAL, engine_of
    from alservice.network.config import resolve_device
    from alservice.network.ranks import joined_ranks
    from alservice.offline.commands import TrainingOptions
    from alservice.offline.regression import train_values, value_encoder
    from alservice.science.stretch import stretch_of
    from alservice.settings import load_settings

    settings = load_settings()
    name = device or settings.device
    engine = LOCAL if ensemble == 1 else engine_of(settings.model_copy(update={"device": name}))
    is_here = engine is LOCAL
    asked = TrainingOptions(
        network=network,
        seed=seed,
        steps=steps,
        epochs=epochs,
        batch=batch,
        px=px,
        field=field,
        hold_out=hold_out,
        threads=threads if is_here else threads or 1,  # that of one CPU, which a worker in a cluster has
        precision=precision,
        head=cast("HeadName", head),
        unfreeze=unfreeze,
    )
    here = resolve_device(name) if is_here else "cpu"
    asked.config(1, here)  # refuses what is wrong before any file is opened
    _check_target(tree, target, label=label, ensemble=None if ensemble == 1 else ensemble, votes_are=votes_are)
    told: dict[str, Any] = {"galaxies": galaxies, "image_folder": images, "stretch": stretch_of(stretch)}
    if target is not None:
        on = value_encoder(encoder, asked, device=here)
        told["read_as"] = read_as(column)
        _say_trained([train_values(data, out, target=target, encoder=on, asked=asked, device=here, **told)])
        return
    told |= {"label": label, "read_as": read_as(column, votes_are), "device": name, "tree": load_tree(str(tree))}
    with joined_ranks(here) as ranks:
        trained = _train_votes(data, out, ensemble, encoder, asked, engine, here, told)
        if ranks.is_first:
            _say_trained(trained)


def _train_votes(
    data: Path,
    out: Path,
    ensemble: int,
    encoder: Path | None,
    asked: TrainingOptions,
    engine: Engine,
    here: str,
    told: Mapping[str, Any],
) -> tuple[TrainedModel, ...]:
    """Train one network, anew or on an encoder, or an ensemble; the device that is named is asked where it trains."""
    from alservice.offline.commands import encoder_of, train_ensemble, train_on_file

    on = encoder_of(encoder, asked, told["tree"], device=here, members=ensemble)
    options: Any = {**told, "on_understood": say_understood}
    if ensemble > 1:
        config = partial(_config_there, asked, told["device"])
        return train_ensemble(data, out, members=ensemble, engine=engine, config=config, **options)
    config_here = (
        partial(asked.config_on, on.network.config, device=here) if on else partial(_config_there, asked, here)
    )
    return (train_on_file(data, out, encoder=on, config=config_here, **options),)


def _config_there(asked: TrainingOptions, device: str, n_rows: int) -> FitConfig:
    from alservice.network.config import resolve_device

    return asked.config(n_rows, resolve_device(device))


def _check_target(tree: str | None, target: str | None, **of_votes: Any) -> None:
    from alservice.errors import BadConfig

    if (tree is None) == (target is None):
        raise BadConfig("give --tree, whose votes are learned, or --target, a column of numbers: one of them")
    wrong = next((name for name, value in of_votes.items() if value is not None), None)
    if target is not None and wrong is not None:
        raise BadConfig(f"--{wrong.replace('_', '-')} is of votes: leave it away with --target", option=wrong)


def _say_trained(models: Sequence[TrainedModel]) -> None:
    for trained in models:
        card = trained.card
        if card["metrics"] is not None:
            typer.echo((trained.folder / "metrics.txt").read_text(encoding="utf-8"))
        of = f"{card['n_votes']:,} votes" if "n_votes" in card else f"column {card['target']}"
        typer.echo(
            f"{trained.folder}: {'was there already: ' if trained.was_there else ''}{card['network']['name']} trained "
            f"on {card['n_galaxies']:,} galaxies, {of}"
        )
        for fault in trained.faults[:SHOWN]:
            typer.echo(f"  row {fault.row} ({fault.galaxy_id or 'no id'}): {fault.field}: {fault.reason}", err=True)
        if trained.faults:
            typer.echo(f"{len(trained.faults):,} rows failed: {trained.folder / 'faults.csv'}", err=True)
    if len(models) > 1:
        typer.echo(f"{models[0].folder.parent}: an ensemble of {len(models)} networks")


def predict(
    model: Annotated[
        list[Path],
        typer.Option("--model", help="Folder that `train` made, or file of weights; may be repeated."),
    ],
    data: Annotated[Path, typer.Option("--data", help="Galaxies with images: a table of any format.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write, .parquet or .csv.")],
    draws: Annotated[int, typer.Option("--draws", min=1, max=1000, help="Posterior draws.")] = 30,
    save_draws: Annotated[bool, typer.Option("--save-draws", help="Keep them, as lists (.parquet only).")] = False,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=1, help="Use a seeded subset.")] = None,
    stretch: Annotated[
        str | None, typer.Option("--stretch", help="Of FITS images, for a model without its folder [the model's].")
    ] = None,
    device: Device = None,
    images: Images = None,
    column: Column = None,
) -> None:
    """Predict every galaxy of a file: mean and 5 to 95 % interval of every answer's fraction among those asked.

    A model of --target predicts its number: mean, standard deviation and the same interval.
    Rows that cannot be predicted are listed in NAME.faults.csv. An interrupted run goes on.
    """
    use(None)
    from alservice.offline.regression import predict_any
    from alservice.settings import load_settings

    predicted = predict_any(
        model,
        data,
        out,
        draws=draws,
        keep_draws=save_draws,
        device=device or load_settings().device,
        galaxies=galaxies,
        stretch=stretch,
        image_folder=images,
        read_as=read_as(column),
    )
    requested = predicted.n_done + predicted.n_failed
    typer.echo(
        f"{predicted.out}: {predicted.n_done:,} galaxies predicted, {predicted.n_failed:,} rows failed of {requested:,}"
    )
    if predicted.n_failed:
        typer.echo(f"failed rows and reasons: {predicted.faults}", err=True)


def evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", help="Table that `predict` wrote.")],
    votes: Annotated[Path, typer.Option("--votes", help="Votes of the same galaxies: a table of any format.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for figures and plots.")] = None,
    tree: Annotated[
        str | None, typer.Option("--tree", help="Question tree, by name or file [the one whose columns fit].")
    ] = None,
    members: Annotated[
        bool, typer.Option("--evaluation-stream", help="Judge only the galaxies that `train` holds out.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of resampling and randomised PIT.")] = 0,
    column: Column = None,
    votes_are: VotesAre = None,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with votes: likelihood, errors, calibration and classification, with intervals."""
    use(None)
    from alservice.campaigns.trees import load_tree
    from alservice.offline.commands import evaluate_file
    from alservice.science.scorecard import evaluation_tables

    known = None if tree is None else load_tree(tree)
    judged = evaluate_file(
        predictions,
        votes,
        tree=known,
        members_only=members,
        seed=seed,
        out=out,
        read_as=read_as(column, votes_are),
    )
    if as_json:
        joined = {
            "matched": judged.n_matched,
            "predictions_without_votes": len(judged.without_votes),
            "votes_without_prediction": len(judged.without_prediction),
        }
        print_json([joined | judged.evaluation.document()])
        return
    for table in evaluation_tables(judged.evaluation):
        print_table(table.rows, head=table.head, title=table.title, right=range(1, len(table.head)))
        typer.echo()
    typer.echo(f"{judged.n_matched:,} galaxies matched")
    for what, ids in (
        ("predictions without votes", judged.without_votes),
        ("voted galaxies without a prediction", judged.without_prediction),
    ):
        if ids:
            more = " ..." if len(ids) > SHOWN else ""
            typer.echo(f"{len(ids):,} {what}: {', '.join(ids[:SHOWN])}{more}", err=True)
    if out is not None:
        typer.echo(f"figures and plots: {out}")


def compare(
    votes: Annotated[Path, typer.Option("--votes", help="Galaxies with votes, as for train; images are not read.")],
    experts: Annotated[Path, typer.Option("--experts", help="Table with ids and what experts said.")],
    label: Annotated[str, typer.Option("--label", help="Its column: 1 and 0, true and false, or yes and no.")],
    answer: Annotated[str, typer.Option("--answer", help="Answer whose fraction is compared, such as bar_yes.")],
    tree: Annotated[str, typer.Option("--tree", help="Question tree of the votes, by name or file.")] = "gz2",
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Table that `predict` wrote, rescaled alike.")
    ] = None,
    min_votes: Annotated[
        int, typer.Option("--min-votes", min=1, help="Votes on the question from which to compare.")
    ] = 10,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for report, figures, plots, probabilities.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rescale vote fractions to what experts would say, by logistic regression, and judge it on a fifth kept aside.

    Tables of the agreement: expected numbers, ROC, confusion, and the confident galaxies (Walmsley 2020, appendix A).
    """
    use(None)
    from alservice.campaigns.trees import load_tree
    from alservice.offline.experts import compare_with_experts

    found = compare_with_experts(
        votes,
        experts,
        tree=load_tree(tree),
        answer=answer,
        label=label,
        predictions=predictions,
        min_votes=min_votes,
        out=out,
    )
    if as_json:
        print_json([found.document()])
        return
    for table in found.tables():
        print_table(table.rows, head=table.head, title=table.title, right=range(1, len(table.head)))
        typer.echo()
    for why, galaxies in found.left_aside.items():
        if galaxies:
            typer.echo(f"{galaxies:,} galaxies {why} left aside", err=True)
    if out is not None:
        typer.echo(f"report, figures and plots: {out}")


@with_options(BackfillOptions)
def backfill(options: BackfillOptions, as_json: AsJson = False) -> None:
    """Replay the loop over historical votes, policies side by side, and say how many labels each saves."""
    use(None, prefect=True)
    from flows.backfill import run_here

    _say_recorded(options)
    names = tuple(dict.fromkeys(["random", *options.policies]))
    report = run_here(replace(options, out=options.out.resolve(), policies=names))
    if as_json:
        print_json([{"report": str(report)}])
    else:
        typer.echo((report.parent / "savings.txt").read_text(encoding="utf-8"), nl=False)
        typer.echo(f"report: {report}")


@with_options(VotesOptions)
def backfill_votes(options: VotesOptions, as_json: AsJson = False) -> None:
    """Replay recorded votes one by one, and say how many a galaxy needs when asking ends as soon as it is known.

    Models are cross-fitted: each galaxy is predicted by one that saw none of its votes. The folder gets
    votes_saved.csv, votes-saved.svg and votes_saved.txt. An interrupted run goes on.
    """
    use(None)
    from alservice.backfill.votes_run import run_backfill_votes
    from alservice.progress import process_progress

    _say_recorded(options)
    replayed = run_backfill_votes(options, process_progress())
    if as_json:
        print_json([saving.document() for saving in replayed.savings])
    else:
        typer.echo((options.out / "votes_saved.txt").read_text(encoding="utf-8"), nl=False)
        typer.echo(f"table and plot: {options.out}")


def _say_recorded(options: BackfillOptions | VotesOptions) -> None:
    """Tell how the catalogue of a backfill is read, before it is replayed."""
    if options.data is None:
        return
    from alservice.backfill.run import open_recorded
    from alservice.campaigns.trees import load_tree
    from alservice.catalogue.understood import understand

    said = read_as(list(options.column), options.votes_are)
    file = open_recorded(options.data, load_tree(options.tree), images=options.images, read_as=said)
    say_understood(understand(file))


releases = typer.Typer(help="Published data to replay.", no_args_is_help=True)


@releases.command("fetch")
def fetch(
    release: Annotated[str, typer.Argument(help="Which release: gz2.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to fetch into; an interrupted fetch goes on.")],
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="Base URL of a copy of the files, under the same names.")
    ] = None,
) -> None:
    """Download a data release, verify it, and write the table that `backfill --data` reads."""
    use(None)
    from alservice.catalogue.gz2 import fetch_release
    from alservice.progress import process_progress

    found, table, joined = fetch_release(release, out, process_progress(), mirror=mirror)
    typer.echo(
        f"{table}: {joined.galaxies:,} galaxies of {joined.rows:,} rows; left out: {joined.stripe82:,} of Stripe 82, "
        f"{joined.repeated:,} repeated, {joined.imageless:,} without an image"
    )
    typer.echo(f"cite {found.cite}")

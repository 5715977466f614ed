"""Train, predict and evaluate on files and tables, without campaign, database or Zooniverse."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from alservice.campaigns.campaign import EvaluationPolicy
from alservice.catalogue.files import AS_TOLD, CatalogueFile, ReadAs, images_in, open_catalogue, said_of
from alservice.catalogue.galaxies import CatalogueFault, evaluation_fraction
from alservice.catalogue.tables import Table, open_table
from alservice.catalogue.understood import Understood, understand
from alservice.catalogue.vote_columns import trees_of
from alservice.documents import document_of
from alservice.engines import LOCAL, Engine, LocalEngine
from alservice.errors import BadConfig, BadInput, BadVotes
from alservice.ids import digest_of_bytes
from alservice.learning.training import due_every
from alservice.network.architectures import HeadName, NetworkConfig, optimiser_of
from alservice.network.config import FineTuning, FitConfig, decay_of, precision_name, resolve_device
from alservice.network.files import ModelCard
from alservice.network.finetuning import parts_of
from alservice.network.laplace import LAPLACE_DRAWS
from alservice.network.ranks import Ranks, joined_ranks
from alservice.offline.evaluation import EvaluatedPredictions, evaluate_predictions
from alservice.offline.galaxies import ReadGalaxies, VotedGalaxies, ignore_fault
from alservice.offline.plots import coverage, reliability, training_curve
from alservice.offline.prediction import (
    PredictionShards,
    PredictRows,
    fault_sheet,
    faults_path,
    open_shards,
    read_predictions,
    tree_of_predictions,
)
from alservice.offline.training import (
    ENSEMBLE,
    MODEL,
    Encoder,
    FitLaplace,
    TrainNetwork,
    evaluate_network,
    load_models,
    read_encoder,
    restored_model,
)
from alservice.plots import Files
from alservice.progress import NoProgress, Progress, process_progress, utc_now
from alservice.science.evaluation import Evaluation
from alservice.science.posterior import Posterior, concat
from alservice.science.scorecard import evaluation_tables
from alservice.science.stretch import PLAIN, Stretch, asked_stretch, stretch_of
from alservice.science.tree import Tree
from alservice.settings import load_settings
from alservice.storage import images
from alservice.storage.remote_images import RemoteImages
from alservice.storage.run_folder import RunFolder, cannot_write, claim_folder, write_whole
from alservice.telemetry import code_revision

EVALUATION_SEED: Final = 0
"""Seed of the evaluation stream: not that of training, so that all runs are judged on the same galaxies."""

DRAWS: Final = 30
"""Posterior draws unless told otherwise, as in the papers."""

EPOCHS: Final = 36.0
"""Passes over the galaxies unless told otherwise: on 23,000 galaxies, 20 minutes of two cores with matrix units."""

_BATCH: Final = 64
_HOLD_OUT: Final = 0.1

_TUNING_STEPS: Final = 400
_TUNING_BATCHES: Final = (8, 64)
_TUNING_HOLD_OUT: Final = 0.2
_TUNING_RATE: Final = 3e-3
"""Of a trunk that was trained before, on some ten to some thousand galaxies: the fewest steps, the smallest and largest
batch, and a share held out that still fits temperatures where there are a hundred galaxies."""

_CARD, _CHECKPOINT, _FAULTS = "card.json", "checkpoint.safetensors", "faults.csv"

_CHECKPOINT_EVERY: Final = timedelta(minutes=1)
"""Training that a kill can cost; looks at the hold-out, which are checkpoints too, can be further apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """Options of a training run on a file.

    Parameters
    ----------
    network
        Network by name: ``compact``, ``walmsley2020``, ``dieleman2015`` or ``timm:NAME``; of an encoder, where its file
        does not say.
    seed
        Root of every random draw, not negative.
    steps, epochs
        Gradient steps, or passes over the galaxies (36 without either, on an encoder at least 400 steps); not both.
    batch
        Galaxies per step, at least 2; None for 64, on an encoder an eighth of the galaxies within 8 to 64.
    px
        Side that images are scaled to (px), 16 to 1024.
    field
        Central share of the side that the network sees, 0.1 to 1.
    hold_out
        Share of the galaxies that chooses the state and its temperatures, 0.01 to 0.5; None for 0.1, on an encoder 0.2.
    threads
        CPU threads; None is all cores.
    precision
        Of the trunk's products: ``float32``, ``bfloat16`` or ``auto``, the faster one on the device.
    head
        ``dropout``: a network is trained whole, or goes on from an encoder. ``laplace``: only its heads, in closed
        form, on a frozen encoder; steps, epochs and batch then do nothing.
    unfreeze
        Blocks of an encoder's trunk that learn, from the top; 0 for its heads alone, None for all.

    Raises
    ------
    BadConfig
        Naming the option that is out of range.
    """

    network: str = "compact"
    seed: int = 0
    steps: int | None = None
    epochs: float | None = None
    batch: int | None = None
    px: int = 128
    field: float = 0.5
    hold_out: float | None = None
    threads: int | None = None
    precision: str = "auto"
    head: HeadName = "dropout"
    unfreeze: int | None = None

    def __post_init__(self) -> None:
        """Refuse an option that is out of range."""
        if self.steps is not None and self.epochs is not None:
            raise BadConfig("give steps or epochs, not both")
        if self.head not in {"dropout", "laplace"}:
            raise BadConfig(f"head must be dropout or laplace, not {self.head!r}", option="head")
        bounds: dict[str, tuple[float, float]] = {
            "seed": (0, math.inf),
            "steps": (1, math.inf),
            "epochs": (0.01, math.inf),
            "batch": (2, math.inf),
            "px": (16, 1024),
            "field": (0.1, 1),
            "hold_out": (0.01, 0.5),
            "threads": (1, math.inf),
            "unfreeze": (0, math.inf),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                text = f"{name} must be {f'{low:g} or more' if high == math.inf else f'{low:g} to {high:g}'}"
                raise BadConfig(f"{text}, not {value!r}", option=name)

    @property
    def network_config(self) -> NetworkConfig:
        """The network asked for; raises `BadConfig` if it is unknown."""
        return NetworkConfig.of(self.network, channels=1, image_px=self.px, field=self.field)

    def config_on(self, encoder: NetworkConfig, n_rows: int, device: str) -> FitConfig:
        """Return the configuration of heads or a whole network on an encoder that was trained before.

        Raises
        ------
        BadConfig
            The precision is unknown.
        """
        plain = FitConfig(
            network=encoder,
            steps=1,
            hold_out=self.hold_out or _TUNING_HOLD_OUT,
            threads=self.threads or os.cpu_count() or 1,
            precision=precision_name(self.precision, device),
            seed=self.seed,
        )
        if self.head == "laplace":
            head = replace(encoder, head="laplace", heads=LAPLACE_DRAWS, dropout=0.0)
            return replace(plain, network=head, hold_out=self.hold_out or _HOLD_OUT)
        least, most = _TUNING_BATCHES
        batch = self.batch or min(most, max(least, n_rows // 8))
        steps = self._steps(n_rows, batch)
        if self.steps is None and self.epochs is None:
            steps = max(_TUNING_STEPS, steps)
        return replace(
            plain,
            steps=steps,
            batch=batch,
            learning_rate=_TUNING_RATE,
            weight_decay=decay_of(steps),
            looks=20,
            tuning=FineTuning(blocks=self.unfreeze),
        )

    def _steps(self, n_rows: int, batch: int) -> int:
        return self.steps or max(1, round((self.epochs or EPOCHS) * n_rows / batch))

    def config(self, n_rows: int, device: str) -> FitConfig:
        """Return the training configuration for a number of rows, on a device that is there.

        Raises
        ------
        BadConfig
            The network or the precision is unknown.
        """
        batch = self.batch or _BATCH
        steps = self._steps(n_rows, batch)
        return FitConfig(
            network=self.network_config,
            steps=steps,
            batch=batch,
            weight_decay=decay_of(steps),
            optimiser=optimiser_of(self.network),
            hold_out=self.hold_out or _HOLD_OUT,
            looks=20,
            threads=self.threads or os.cpu_count() or 1,
            precision=precision_name(self.precision, device),
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model and the folder that holds it.

    Parameters
    ----------
    folder
        Weights, card, plots, tables and the rows that failed.
    card
        Configuration, digests, training curve, and under ``metrics`` the figures on the evaluation stream (None
        without members), as written in the folder.
    faults
        Rows that failed, when they were read by this call.
    was_there
        Whether an earlier call had trained it.
    """

    folder: Path
    card: dict[str, Any] = field(repr=False)
    faults: tuple[CatalogueFault, ...] = field(repr=False)
    was_there: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedFile:
    """A file of predictions, its file of faults, and the counts of both: requested = done + failed."""

    out: Path
    faults: Path
    n_done: int
    n_failed: int


def ignore_understood(_understood: Understood, /) -> None:
    """Do nothing: the card of the model has it."""


def train_on_file(
    data: Path | Table,
    out: Path,
    *,
    tree: Tree,
    config: Callable[[int], FitConfig],
    galaxies: int | None,
    device: str,
    progress: Progress | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
    on_understood: Callable[[Understood], None] = ignore_understood,
    encoder: Encoder | None = None,
    label: str | None = None,
    stretch: Stretch = PLAIN,
) -> TrainedModel:
    """Train on every voted galaxy of a file outside its evaluation stream, and evaluate the model on the stream.

    Under `torchrun` all ranks train together; the first one alone writes, and all return the same card.

    Parameters
    ----------
    data
        A file, or a table in memory.
    out
        Folder of the model; the same call goes on with what an earlier one left there.
    config
        The training configuration for a number of rows.
    galaxies
        Use so many rows of the file: those whose ids hash smallest.
    image_folder
        Where the images are; None where a column holds them, or paths beside the file. See `images_in`.
    read_as
        What the columns do not say.
    on_fault
        Told of every row that fails; may raise to end the call.
    on_understood
        Told how the table was read, before anything is trained; the card keeps it under ``read``.
    encoder
        A Laplace head is fitted on its trunk, or a network goes on from it, as `config` says; None starts anew.
    label
        Column that names an answer of the tree's only question per galaxy, in place of votes.
    stretch
        How fluxes of FITS images become grey levels; kept in the card, and used again when the model predicts.

    Raises
    ------
    BadInput, BadVotes, BadConfig, BadTree
        The file, a column, the network or the device is wrong; or no galaxy is left to train on.
    Conflict
        The folder holds another run, or ranks were given different files.
    RankLost
        Another rank is gone.
    """
    with joined_ranks(resolve_device(device)) as ranks:
        return _train_on_file(
            data,
            out,
            tree=tree,
            config=config,
            galaxies=galaxies,
            ranks=ranks,
            progress=(progress or process_progress()) if ranks.is_first else NoProgress(),
            image_folder=image_folder,
            read_as=read_as,
            on_fault=on_fault,
            on_understood=on_understood if ranks.is_first else ignore_understood,
            encoder=encoder,
            label=label,
            stretch=stretch,
        )


def _train_on_file(
    data: Path | Table,
    out: Path,
    *,
    tree: Tree,
    config: Callable[[int], FitConfig],
    galaxies: int | None,
    ranks: Ranks,
    progress: Progress,
    image_folder: Path | None,
    read_as: ReadAs,
    on_fault: Callable[[CatalogueFault], None],
    on_understood: Callable[[Understood], None],
    encoder: Encoder | None,
    label: str | None,
    stretch: Stretch,
) -> TrainedModel:
    if encoder is not None and ranks.size > 1:
        raise BadConfig("an encoder is fitted or tuned by one process: start it without torchrun")
    source = with_votes(open_with_images(data, tree, image_folder, read_as, stretch, label=label), tree)
    n_rows = source.n_rows if galaxies is None else galaxies
    fit_config = config(n_rows)
    asked = (
        {
            "command": "train",
            "data": source.table.sha256(),
            "galaxies": galaxies,
            "tree": tree.hash,
            "training": document_of(fit_config),
        }
        | asked_stretch(stretch)
        | said_of(image_folder, read_as)
    )
    if encoder is not None:
        asked["encoder"] = encoder.digest
    if label is not None:
        asked["label"] = label
    with _claimed(out, asked, ranks) as folder:
        finished = ranks.share(folder.read(_CARD))
        if finished is not None:
            return TrainedModel(folder=out, card=json.loads(finished), faults=(), was_there=True)
        network = fit_config.network
        understood = understand(source)
        on_understood(understood)
        read = reader(
            source, tree, size_px=network.image_px, channels=network.channels, progress=progress, on_fault=on_fault
        )
        voted, faults = read.run(source.rows(galaxies, EVALUATION_SEED), total=n_rows)
        if ranks.is_first:
            folder.write(_FAULTS, fault_sheet((f.row, f.galaxy_id, f.field, f.reason) for f in faults))
        about = {"stretch": stretch.text(), "read": dict(understood.document())}
        card = _train(folder, voted, tree, fit_config, ranks, progress, encoder, about)
        return TrainedModel(folder=out, card=card, faults=faults, was_there=False)


@contextmanager
def _claimed(out: Path, asked: Mapping[str, Any], ranks: Ranks) -> Iterator[RunFolder]:
    """Hold a folder on the first rank, as `claim_folder` does; the others know its path, and leave it alone."""
    if not ranks.is_first:
        yield RunFolder(path=out)
        return
    with claim_folder(out, asked) as folder:
        yield folder


def open_with_images(
    data: Path | Table,
    tree: Tree,
    folder: Path | None,
    read_as: ReadAs,
    stretch: Stretch = PLAIN,
    *,
    votes: bool = True,
    label: str | None = None,
) -> CatalogueFile:
    """Return a table with images: its own, or those of a folder; see `open_catalogue` and `images_in`."""
    table = data if isinstance(data, Table) else open_table(data)
    settings = load_settings()
    return open_catalogue(
        table,
        tree,
        read_as=read_as,
        images=None if folder is None else images_in(folder, table),
        roots=settings.image_folders,
        remote=RemoteImages.of(settings),
        stretch=stretch,
        with_votes=votes,
        label=label,
    )


def stretch_of_models(models: Sequence[Path], asked: str | None) -> Stretch:
    """Return how images were stretched for models, as their folders say: they are to be predicted in the same way.

    Parameters
    ----------
    asked
        A stretch to use; needed where a file of weights alone was trained with another than the usual one.

    Raises
    ------
    BadConfig
        It is none, or not the one that a model was trained with; or models were trained with several.
    """
    cards = [folder / _CARD for model in models for folder in (model, *sorted(model.glob("member-*")))]
    known = {str(json.loads(card.read_bytes()).get("stretch", PLAIN.name)) for card in cards if card.is_file()}
    if len(known) > 1:
        raise BadConfig(f"models were trained on images of several stretches: {', '.join(sorted(known))}")
    text = next(iter(known), asked or PLAIN.name)
    stretch = stretch_of(text)
    if asked is not None and stretch_of(asked) != stretch:
        raise BadConfig(f"the model was trained with stretch {text}, not {asked}", option="stretch")
    return stretch


def reader(
    source: CatalogueFile,
    tree: Tree,
    *,
    size_px: int | None,
    channels: int,
    progress: Progress,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
) -> ReadGalaxies:
    """Return a reader of a file's galaxies that knows the members of its evaluation stream."""
    return ReadGalaxies(
        tree=tree,
        codec=images,
        progress=progress,
        size_px=size_px,
        channels=3 if channels == 3 else 1,
        evaluation_fraction=stream_share(source),
        evaluation_seed=EVALUATION_SEED,
        on_fault=on_fault,
    )


def stream_share(source: CatalogueFile) -> float:
    """Return the share of a file's unbiased part that is its evaluation stream."""
    return evaluation_fraction(source.unbiased_ids(), seed=EVALUATION_SEED, otherwise=EvaluationPolicy().fraction)


def predict_file(
    models: Sequence[Path],
    data: Path | Table,
    out: Path,
    *,
    draws: int,
    keep_draws: bool,
    device: str,
    galaxies: int | None = None,
    progress: Progress | None = None,
    tree: Tree | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
    stretch: str | None = None,
) -> PredictedFile:
    """Predict every galaxy of a file into a table; the same call goes on with what an earlier one left.

    Parameters
    ----------
    models
        Training folders, ensembles or files of weights: of several networks each gives its share of the draws.
    tree
        The tree that they follow; None for the packaged one that they name.
    data, image_folder, read_as, on_fault
        As `train_on_file`; votes are not read.
    stretch
        As `stretch_of_models`.

    Raises
    ------
    NotFound, BadInput, DigestMismatch
        A model or the data is not there, is none, or is damaged.
    BadConfig
        The models cannot predict together, or are more than draws.
    Conflict
        Another prediction to the same file was left unfinished.
    """
    if keep_draws and out.suffix != ".parquet":
        raise BadInput(f"{out}: draws are lists, which only .parquet holds", path=str(out))
    service = _predictor(
        models, draws=draws, keep_draws=keep_draws, device=device, progress=progress, tree=tree, on_fault=on_fault
    )
    tree, digest = service.networks[0].tree, service.model
    fluxes = stretch_of_models(models, stretch)
    source = open_with_images(data, tree, image_folder, read_as, fluxes, votes=False)
    asked = (
        {
            "command": "predict",
            "model": digest,
            "data": source.table.sha256(),
            "galaxies": galaxies,
            "draws": draws,
            "keep_draws": keep_draws,
        }
        | asked_stretch(fluxes)
        | said_of(image_folder, read_as)
    )
    with open_shards(out, asked) as shards:
        rows = source.rows(galaxies, EVALUATION_SEED)
        n_shards, done, failed = service.run(
            rows, PredictionShards(tree=tree, shards=shards), total=source.n_rows if galaxies is None else galaxies
        )
        shards.join(out, n_shards)
    return PredictedFile(out=out, faults=faults_path(out), n_done=done, n_failed=failed)


def posterior_of_file(
    models: Sequence[Path],
    data: Path | Table,
    *,
    draws: int,
    device: str,
    galaxies: int | None = None,
    progress: Progress | None = None,
    tree: Tree | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
    stretch: str | None = None,
) -> Posterior:
    """Return the posterior that `predict_file` summarises, whole and in memory; parameters and errors as there."""
    service = _predictor(
        models, draws=draws, keep_draws=False, device=device, progress=progress, tree=tree, on_fault=on_fault
    )
    fluxes = stretch_of_models(models, stretch)
    source = open_with_images(data, service.networks[0].tree, image_folder, read_as, fluxes, votes=False)
    total = source.n_rows if galaxies is None else galaxies
    return concat(list(service.posteriors(source.rows(galaxies, EVALUATION_SEED), total=total)))


def _predictor(
    models: Sequence[Path],
    *,
    draws: int,
    keep_draws: bool,
    device: str,
    progress: Progress | None,
    tree: Tree | None,
    on_fault: Callable[[CatalogueFault], None],
) -> PredictRows:
    networks, digest = load_models(models, device=device, tree=tree)
    if len(networks) > draws:
        raise BadConfig(f"{len(networks)} networks need a draw each, not {draws} in all", draws=draws)
    return PredictRows(
        networks=networks,
        model=digest,
        codec=images,
        device=str(networks[0].temperature.device),
        draws=draws,
        keep_draws=keep_draws,
        progress=progress or process_progress(),
        on_fault=on_fault,
    )


def evaluate_file(
    predictions: Path | Table,
    votes: Path | Table,
    *,
    tree: Tree | None,
    members_only: bool,
    seed: int,
    out: Path | None,
    progress: Progress | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
) -> EvaluatedPredictions:
    """Evaluate a table of predictions on a file of votes; with a folder, write figures and plots there.

    Parameters
    ----------
    tree
        Their tree; None for the packaged one whose columns fit the predictions.
    members_only
        Use the evaluation stream of the file of votes alone, not the galaxies that `train_on_file` trains on.
    read_as
        What the columns of the votes do not say.
    on_fault
        Told of every row of the votes that fails; may raise to end the call.

    Raises
    ------
    BadInput, BadVotes, BadTree
        A file, a column or a row is wrong, or no galaxy is in both files.
    """
    tree = tree_of_predictions(predictions) if tree is None else tree
    table = read_predictions(predictions, tree)
    source = open_catalogue(votes, tree, read_as=read_as, with_images=False)
    source = with_votes(source, tree)
    read = reader(source, tree, size_px=None, channels=1, progress=progress or process_progress(), on_fault=on_fault)
    voted, faults = read.run(source.rows(), total=source.n_rows)
    if members_only:
        voted = voted.only(voted.evaluation)
    judged = evaluate_predictions(tree, table, voted, seed=seed)
    if out is not None:
        _write_evaluation(out, tree, judged, faults)
    return judged


def with_votes(source: CatalogueFile, tree: Tree) -> CatalogueFile:
    """Return a file that has votes of a tree; raises `BadVotes`, which names the tree that its columns are of."""
    if source.votes is None:
        name, like = source.table.path.name, tree.columns[0]
        others = trees_of(source.table.columns)
        use = f"; its columns are those of --tree {' or '.join(others)}" if others else ""
        raise BadVotes(f"{name}: no column of votes: neither 'Class1.1' .. 'Class11.6' nor any like {like!r}{use}")
    return source


def _train(
    folder: RunFolder,
    voted: VotedGalaxies,
    tree: Tree,
    config: FitConfig,
    ranks: Ranks,
    progress: Progress,
    encoder: Encoder | None,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    learn = voted.only(~voted.evaluation)
    if len(learn.galaxy_ids) < 2:
        raise BadVotes(f"{len(learn.galaxy_ids)} galaxies are left to train on: all others are the evaluation stream")
    card, data = _fitted(folder, learn, tree, config, ranks, progress, encoder)
    # The others wait here for what the first one makes of the model, and so for its folder to be whole.
    members = voted.only(voted.evaluation)
    return ranks.share(_finish(folder, members, tree, card, data, ranks.device, about) if ranks.is_first else {})


def _fitted(
    folder: RunFolder,
    learn: VotedGalaxies,
    tree: Tree,
    config: FitConfig,
    ranks: Ranks,
    progress: Progress,
    encoder: Encoder | None,
) -> tuple[ModelCard, bytes]:
    """Return card and model: heads in closed form on an encoder, or a whole network by its gradient."""
    if encoder is not None and config.network.head == "laplace":
        head = FitLaplace(
            tree=tree,
            device=ranks.device,
            code_revision=code_revision(),
            encoder=encoder.network,
            digest=encoder.digest,
            progress=progress,
        )
        return head.run(learn, config)
    train = TrainNetwork(
        tree=tree,
        device=ranks.device,
        code_revision=code_revision(),
        progress=progress,
        as_surveyed=True,
        ranks=ranks,
        encoder=encoder,
    )
    return train.run(
        learn,
        config,
        checkpoint=folder.read(_CHECKPOINT) if ranks.is_first else None,
        on_checkpoint=lambda state: folder.write(_CHECKPOINT, state),
        is_due=due_every(_CHECKPOINT_EVERY, utc_now),
    )


def encoder_of(
    path: Path | None, asked: TrainingOptions, tree: Tree, *, device: str, members: int = 1
) -> Encoder | None:
    """Return the network whose trunk heads are fitted on or training goes on from; None where it starts anew.

    Raises
    ------
    BadConfig
        Head ``laplace`` or blocks to unfreeze without an encoder, more blocks than it has, or an ensemble on one.
    NotFound, BadInput, DigestMismatch
        As `read_encoder`.
    """
    if path is None:
        if asked.head == "laplace" or asked.unfreeze is not None:
            raise BadConfig("head laplace and blocks to unfreeze are of an encoder: give one", option="encoder")
        return None
    if members > 1:
        raise BadConfig("an ensemble is trained from fresh weights: leave the encoder or it away", option="ensemble")
    encoder = read_encoder(path, tree, asked.network_config, device=device)
    if asked.head != "laplace":
        parts_of(encoder.network, asked.config_on(encoder.network.config, 1, device))  # refuses too many blocks
    return encoder


def _finish(
    folder: RunFolder,
    members: VotedGalaxies,
    tree: Tree,
    card: ModelCard,
    data: bytes,
    device: str,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluate a trained model, write all that a folder has, and return its card."""
    document = card.document() | {"weights": digest_of_bytes(data), "metrics": None} | dict(about)
    plots = training_curve(card.history)
    if len(members.galaxy_ids):
        network, _, digest = restored_model(data, tree, device=device)
        found, _ = evaluate_network(network, members, model=digest, draws=DRAWS, device=device)
        document["metrics"] = found.document()
        plots |= evaluation_files(tree, found)
    for name, content in plots.items():
        folder.write(name, content)
    folder.write(MODEL, data)
    folder.write(_CARD, json_bytes(document))  # last: a folder with a card is complete
    folder.remove(_CHECKPOINT)
    return document


def evaluation_files(tree: Tree, found: Evaluation) -> Files:
    """Return the plots and the tables of an evaluation by file name."""
    text = "\n\n".join(table.text() for table in evaluation_tables(found)) + "\n"
    return {
        **reliability(tree, found),
        **coverage(tree, found),
        "metrics.json": json_bytes(found.document()),
        "metrics.txt": text.encode(),
    }


def _write_evaluation(out: Path, tree: Tree, judged: EvaluatedPredictions, faults: Sequence[CatalogueFault]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    files = evaluation_files(tree, judged.evaluation)
    unmatched = [(None, name, "votes", "a prediction without votes") for name in judged.without_votes]
    unmatched += [(None, name, "prediction", "votes without a prediction") for name in judged.without_prediction]
    rows = [(f.row, f.galaxy_id, f.field, f.reason) for f in faults]
    files["unmatched.csv"] = fault_sheet(iter([*rows, *unmatched]))
    for name, content in files.items():
        write_whole(out / name, content)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as a folder of a model keeps it; equal documents give equal bytes."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def train_ensemble(
    data: Path,
    out: Path,
    *,
    members: int,
    tree: Tree,
    config: Callable[[int], FitConfig],
    galaxies: int | None,
    device: str,
    progress: Progress | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_understood: Callable[[Understood], None] = ignore_understood,
    engine: Engine = LOCAL,
    label: str | None = None,
    stretch: Stretch = PLAIN,
) -> tuple[TrainedModel, ...]:
    """Train networks one after the other, each as `train_on_file` does and in a folder of its own inside `out`.

    Member n has the seed of the configuration plus n. All hold out the same galaxies. The folder is complete once it
    has the list of its members. Under `torchrun` all ranks train each member together.

    Parameters
    ----------
    engine
        Where members are trained; on another than this process several at a time, by workers that see both paths.
    label
        As `train_on_file`.

    Raises
    ------
    Conflict
        The folder holds an ensemble of another size, or anything else.
    BadInput, BadVotes, BadConfig, BadTree
        As `train_on_file`; also for `torchrun` and a cluster at once.
    RayUnavailable, RayWorkersLost
        The cluster does not answer, or its workers die.
    """
    is_here = isinstance(engine, LocalEngine)
    shown = progress or process_progress()
    asked = {"command": "train ensemble", "members": members}
    with joined_ranks(resolve_device(device) if is_here else "cpu") as ranks, _claimed(out, asked, ranks) as folder:
        if not (is_here or ranks.size == 1):
            raise BadConfig(
                "members are trained by torchrun or in a Ray cluster, not both: unset ALSERVICE_RAY_ADDRESS"
            )
        train = partial(
            _train_member,
            data=data.absolute(),
            out=out.absolute(),
            tree=tree,
            config=config,
            galaxies=galaxies,
            device=device,
            progress=shown if is_here else None,
            label=label,
            stretch=stretch,
            image_folder=None if image_folder is None else image_folder.absolute(),
            read_as=read_as,
            on_understood=on_understood,
        )
        trained = {}
        if not is_here:
            shown.start("train members", members)
        for number, member in engine.map(lambda: train, range(members)):
            trained[number] = member
            if not is_here:
                shown.advance()
        models = tuple(trained[number] for number in range(members))
        if ranks.is_first:
            digests = {model.folder.name: model.card["weights"] for model in models}
            folder.write(ENSEMBLE, json.dumps(digests, indent=1).encode())
    return models


def _train_member(
    number: int, *, out: Path, config: Callable[[int], FitConfig], **options: Any
) -> tuple[int, TrainedModel]:
    return number, train_on_file(out=out / f"member-{number}", config=_reseeded(config, number), **options)


def _reseeded(config: Callable[[int], FitConfig], number: int) -> Callable[[int], FitConfig]:
    def reseeded(n_rows: int) -> FitConfig:
        plain = config(n_rows)
        return replace(plain, seed=plain.seed + number)

    return reseeded

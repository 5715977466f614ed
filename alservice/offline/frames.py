"""Train, predict, evaluate and score with DataFrames or paths: the functions of ``import alservice``.

Each calls the function that the command of its name calls, so that both give the same files for the same input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from alservice.acquisition.policies import policy_scores
from alservice.campaigns.campaign import AcquisitionPolicy
from alservice.campaigns.policies import PolicyName
from alservice.campaigns.trees import load_tree
from alservice.catalogue.files import ReadAs
from alservice.catalogue.galaxies import CatalogueFault
from alservice.catalogue.tables import Table, frame_table, open_table, require_ids, texts
from alservice.catalogue.vote_columns import VotesAre
from alservice.errors import BadConfig, BadImage, BadInput, BadVotes
from alservice.network.architectures import HeadName
from alservice.network.config import resolve_device
from alservice.offline.commands import (
    DRAWS,
    TrainedModel,
    TrainingOptions,
    encoder_of,
    evaluate_file,
    posterior_of_file,
    train_on_file,
)
from alservice.offline.evaluation import EvaluatedPredictions
from alservice.offline.galaxies import ignore_fault
from alservice.offline.prediction import DRAWS as DRAWS_SUFFIX
from alservice.offline.prediction import faults_path, tree_of_predictions
from alservice.offline.regression import predict_any, train_values, value_encoder
from alservice.progress import Progress
from alservice.science.posterior import Posterior, check_tree, question_totals
from alservice.science.stretch import stretch_of
from alservice.science.tree import Tree
from alservice.settings import load_settings
from alservice.shapes import FloatArray
from alservice.storage.csv import plain_cell

Data: TypeAlias = pd.DataFrame | str | Path
"""Rows in memory, or the path of a table in any format that the commands read."""

Model: TypeAlias = TrainedModel | str | Path
"""What `train` returned, a folder that it or the command filled, or a file of weights."""

Faults: TypeAlias = Literal["raise", "skip"]
"""What happens at a row that cannot be used: the call ends and names it, or goes on and lists it."""

_ID: Final = "galaxy_id"
_IMAGE_FIELDS: Final = frozenset({"image", "image_path", "file_loc"})

_SHARP: Final = 1e9
"""Precision at which a Dirichlet stands for its mean: votes are then multinomial within a part in ten million."""

_SUM_TOLERANCE: Final = 1e-3
"""How far the fractions of one question may sum from 1, as float32 and rounded decimals do."""


def train(
    data: Data,
    *,
    out: str | Path,
    tree: str | Path | Tree | None = None,
    target: str | None = None,
    images: str | Path | None = None,
    label: str | None = None,
    columns: Mapping[str, str] | None = None,
    votes_are: VotesAre | None = None,
    network: str = "compact",
    seed: int = 0,
    steps: int | None = None,
    epochs: float | None = None,
    batch: int | None = None,
    px: int = 128,
    field: float = 0.5,
    hold_out: float | None = None,
    galaxies: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str = "auto",
    encoder: Model | None = None,
    head: HeadName = "dropout",
    unfreeze: int | None = None,
    stretch: str = "plain",
    faults: Faults = "raise",
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a network on galaxies with votes, as ``alservice train`` does.

    A fifth of the galaxies (of a large catalogue with ``random_block`` 1,500), chosen by hash of the id, is the
    evaluation stream: it is never trained on, and the model is evaluated on it. The same call goes on where an
    interrupted one stopped, and returns the model at once when it is finished.

    Parameters
    ----------
    data
        N galaxies, one per row: ``galaxy_id`` (text or integers); ``image`` (bytes of a JPEG or PNG file) or
        ``image_path``; and a column of votes per answer, named as ``tree.columns``, with counts or with fractions
        among those asked. Other layouts of published tables are recognised, as by the command.
    tree
        Question tree, whose votes are learned: name, path or record.
    target
        In place of a tree: column of numbers, such as a size, learned in closed form on `encoder`; `predict` then gives
        ``TARGET_mean``, ``_sd``, ``_p05`` and ``_p95``. Steps, epochs, batch and hold-out are not used, and refused.
    out
        Folder of the model, made if need be: weights, card, figures, plots.
    images
        Folder of the images, where ``image_path`` is not relative to the file (of a frame: to the working folder)
        or there is no such column; files are then named ``ID.jpg``, or as ``FOLDER/{id}.png`` says.
    label
        Column that names an answer per galaxy, in place of columns of votes, for a tree of one question: the answer's
        name or label, or for ``yes`` and ``no`` 1 and 0.
    stretch
        How fluxes of FITS images become grey levels: ``plain``, ``sdss``, ``decals``, ``hsc``, ``euclid``, or one of
        them with values of its own, as ``hsc,high_pct=99.9``; `predict` uses it again.
    columns
        What columns of other names are: ``{"image": "png_loc", "id": "objid"}``, also ``ra`` and ``dec``.
    votes_are
        ``counts`` or ``fractions``; told by the numbers where None.
    network
        ``compact``, ``walmsley2020``, ``dieleman2015`` or ``timm:NAME``.
    seed
        Root of every random draw.
    steps, epochs
        Gradient steps, or passes over the galaxies (36 without either, on an encoder at least 400 steps); not both.
    batch
        Galaxies per step: 64, on an encoder an eighth of the galaxies within 8 to 64.
    px
        Side that images are scaled to (px).
    field
        Central share of the side that the network sees.
    hold_out
        Share of the galaxies that chooses the state and its temperatures: 0.1, on an encoder 0.2.
    galaxies
        Use a seeded subset of so many galaxies; all where None.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``auto``; that of the settings where None.
    threads
        CPU threads; all cores where None.
    precision
        Of the trunk's products: ``float32``, ``bfloat16``, or ``auto``, the faster one.
    encoder
        Start from this: a model of any tree, whose network, px and field are taken over; or a file of weights
        (``.safetensors``, ``.ckpt``, ``.pth``) of a timm model or a Zoobot encoder, with ``network="timm:NAME"`` where
        the file does not say. Heads learn first; then the blocks of its trunk join, one by one from the top.
    head
        ``dropout`` trains a network by its gradient; ``laplace`` fits only heads, on an encoder, in closed form:
        seconds beyond embedding, and up to 200 posterior draws.
    unfreeze
        Blocks of the encoder that learn, from the top; 0 for heads alone, all where None.
    faults
        ``raise`` ends the call at the first row that cannot be used; ``skip`` goes on, and lists such rows in
        ``model.faults`` and in ``faults.csv``.
    progress
        Where the call says how far it is; bars at a terminal, log lines elsewhere where None.

    Returns
    -------
    TrainedModel
        Folder and card; ``model.card["metrics"]`` has the figures on the evaluation stream.

    Raises
    ------
    BadInput
        A column is missing, given twice or of the wrong type, the table is empty, or a row cannot be used: no id, an
        id that occurs twice. The message names column and row (the first is 1).
    BadVotes, BadImage
        There are no votes, or those of a row are NaN, negative or do not sum; an image cannot be decoded.
    BadTree, BadConfig
        The tree, the network, the device or an option is wrong.
    Conflict
        The folder holds another run.

    Examples
    --------
    >>> import alservice
    >>> from alservice.testing import synthetic_galaxies
    >>> galaxies = synthetic_galaxies(24, seed=1)
    >>> model = alservice.train(galaxies, tree="gz2", out=folder / "model", px=32, steps=2, batch=4, threads=1)
    >>> model.card["n_galaxies"], model.card["metrics"]["n_galaxies"]
    (18, 6)
    """
    asked = TrainingOptions(
        network=network,
        seed=seed,
        steps=steps,
        epochs=epochs,
        batch=batch,
        px=px,
        field=field,
        hold_out=hold_out,
        threads=threads,
        precision=precision,
        head=head,
        unfreeze=unfreeze,
    )
    if (tree is None) == (target is None):
        raise BadConfig("give a tree, whose votes are learned, or a target, a column of numbers: one of them")
    table, resolved = _table(data), resolve_device(device or load_settings().device)
    asked.config(1, resolved)  # refuses what is wrong before any folder is made
    if target is not None:
        if label is not None or votes_are is not None:
            raise BadConfig("label and votes_are are of votes: leave them away with a target", option="target")
        return train_values(
            table,
            Path(out),
            target=target,
            encoder=value_encoder(None if encoder is None else _models(encoder, 1)[0], asked, device=resolved),
            asked=asked,
            device=resolved,
            galaxies=galaxies,
            progress=progress,
            image_folder=None if images is None else Path(images),
            read_as=ReadAs(columns=columns or {}),
            on_fault=_on_fault(faults, table, None, columns),
            stretch=stretch_of(stretch),
        )
    known = load_tree(tree or "")
    on = encoder_of(None if encoder is None else _models(encoder, 1)[0], asked, known, device=resolved)
    return train_on_file(
        table,
        Path(out),
        tree=known,
        config=lambda n: asked.config(n, resolved) if on is None else asked.config_on(on.network.config, n, resolved),
        galaxies=galaxies,
        device=resolved,
        progress=progress,
        image_folder=None if images is None else Path(images),
        read_as=ReadAs(columns=columns or {}, votes=votes_are),
        on_fault=_on_fault(faults, table, known, columns),
        encoder=on,
        label=label,
        stretch=stretch_of(stretch),
    )


def predict(
    model: Model | Sequence[Model],
    data: Data,
    *,
    out: str | Path | None = None,
    draws: int = DRAWS,
    save_draws: bool = False,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    tree: str | Path | Tree | None = None,
    galaxies: int | None = None,
    device: str | None = None,
    stretch: str | None = None,
    faults: Faults = "raise",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Predict the vote fractions of galaxies, as ``alservice predict`` does.

    Parameters
    ----------
    model
        One model, or several, which share the draws as an ensemble.
    data
        N galaxies with ids and images, as `train`; votes are not read.
    out
        File to write as well, ``.parquet`` or ``.csv``; an interrupted call with the same file goes on.
    draws
        T posterior draws, 1 to 1000.
    save_draws
        Return the draws too, as ``QUESTION_ANSWER_draws``; a file must then be ``.parquet``.
    images, columns, galaxies, device, progress
        As `train`.
    tree
        Tree of the model, needed only where it is not a packaged one.
    stretch
        As `train`; the model's own where None, and any other is refused.
    faults
        ``raise`` ends the call at the first row that cannot be predicted; ``skip`` leaves such rows out, and lists
        them in ``predictions.attrs["faults"]`` and, with a file, in ``NAME.faults.csv``.

    Returns
    -------
    DataFrame
        A row per galaxy in the order of the data, with the columns of the file: ``galaxy_id``; for each of A answers
        ``QUESTION_ANSWER_mean``, ``_p05`` and ``_p95``, the mean and the 5 and 95 % quantile of its fraction among
        those asked; for each of Q questions ``QUESTION_precision``, that of the Dirichlet with the same mean and total
        variance. Of a model of a target, its mean, standard deviation and interval. Numbers are float64.

    Raises
    ------
    NotFound, DigestMismatch
        There is no model, or it is damaged.
    BadInput, BadImage
        A column or a row is wrong, as `train`; or the file cannot be written.
    BadConfig
        Draws are out of range, or the models cannot predict together.
    Conflict
        Another prediction to the same file was left unfinished.

    Examples
    --------
    >>> import alservice
    >>> from alservice.testing import synthetic_galaxies
    >>> galaxies = synthetic_galaxies(24, seed=1)
    >>> model = alservice.train(galaxies, tree="gz2", out=folder / "model", px=32, steps=2, batch=4, threads=1)
    >>> predictions = alservice.predict(model, galaxies[["galaxy_id", "image"]], draws=5)
    >>> predictions.shape
    (24, 123)
    >>> bool(predictions["bar_yes_mean"].between(0, 1).all())
    True
    """
    models, table = _models(model, draws), _table(data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet" if out is None else Path(out)
        predicted = predict_any(
            models,
            table,
            path,
            draws=draws,
            keep_draws=save_draws,
            device=device or load_settings().device,
            galaxies=galaxies,
            progress=progress,
            tree=None if tree is None else load_tree(tree),
            image_folder=None if images is None else Path(images),
            stretch=stretch,
            read_as=ReadAs(columns=columns or {}),
            on_fault=_on_fault(faults, table, None, columns),
        )
        return _predictions(predicted.out)


def posterior(
    model: Model | Sequence[Model],
    data: Data,
    *,
    draws: int = DRAWS,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    tree: str | Path | Tree | None = None,
    galaxies: int | None = None,
    device: str | None = None,
    stretch: str | None = None,
    faults: Faults = "raise",
    progress: Progress | None = None,
) -> Posterior:
    """Return the posterior that `predict` summarises: what `score` ranks galaxies by.

    It is held in memory whole: 4 bytes for each of N galaxies, T draws and A answers.

    Parameters
    ----------
    model, data, draws, images, columns, tree, galaxies, device, stretch, progress
        As `predict`.
    faults
        ``raise`` ends the call at the first row that cannot be predicted; ``skip`` leaves such rows out.

    Returns
    -------
    Posterior
        ``galaxy_ids`` (N), and ``concentrations`` (N, T, A), float32: draw t is the Dirichlet that one network gives
        the answers of each question.

    Raises
    ------
    NotFound, DigestMismatch, BadInput, BadImage, BadConfig
        As `predict`.

    Examples
    --------
    >>> import alservice
    >>> from alservice.testing import synthetic_galaxies
    >>> galaxies = synthetic_galaxies(24, seed=1)
    >>> model = alservice.train(galaxies, tree="gz2", out=folder / "model", px=32, steps=2, batch=4, threads=1)
    >>> posterior = alservice.posterior(model, galaxies, draws=5)
    >>> posterior.concentrations.shape
    (24, 5, 37)
    >>> alservice.score("gz2", posterior, votes=40).shape
    (24,)
    """
    models, table = _models(model, draws), _table(data)
    return posterior_of_file(
        models,
        table,
        draws=draws,
        device=device or load_settings().device,
        galaxies=galaxies,
        progress=progress,
        tree=None if tree is None else load_tree(tree),
        image_folder=None if images is None else Path(images),
        stretch=stretch,
        read_as=ReadAs(columns=columns or {}),
        on_fault=_on_fault(faults, table, None, columns),
    )


def evaluate(
    predictions: Data,
    votes: Data,
    tree: str | Path | Tree | None = None,
    *,
    evaluation_stream: bool = False,
    columns: Mapping[str, str] | None = None,
    votes_are: VotesAre | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    faults: Faults = "raise",
    progress: Progress | None = None,
) -> EvaluatedPredictions:
    """Compare predictions with the votes of the same galaxies, as ``alservice evaluate`` does.

    Parameters
    ----------
    predictions
        What `predict` returned or wrote.
    votes
        Galaxies with ids and votes, as `train`; images are not read. Rows are joined by id.
    tree
        Their tree; where None, the packaged one that has the columns.
    evaluation_stream
        Use only the galaxies that `train` holds out.
    columns, votes_are
        Of the votes, as `train`.
    seed
        Of resampling and of the randomised PIT.
    out
        Folder for figures and plots.
    faults
        ``raise`` ends the call at the first row of votes that cannot be used; ``skip`` leaves such rows out.
    progress
        As `train`.

    Returns
    -------
    EvaluatedPredictions
        ``.to_frame()`` has a row per question, ``.to_frame("answer")`` one per answer; ``.evaluation`` all figures
        with their 95 % intervals; galaxies without a partner are in ``.without_votes`` and ``.without_prediction``.

    Raises
    ------
    BadInput
        A column is missing, no galaxy has both predictions and votes, a prediction is no number or out of range, or a
        row of votes cannot be used.
    BadVotes, BadTree
        There are no votes, or those of a row are NaN, negative or do not sum; the tree is unknown.

    Examples
    --------
    >>> import alservice
    >>> from alservice.testing import synthetic_galaxies
    >>> galaxies = synthetic_galaxies(24, seed=1)
    >>> model = alservice.train(galaxies, tree="gz2", out=folder / "model", px=32, steps=2, batch=4, threads=1)
    >>> result = alservice.evaluate(alservice.predict(model, galaxies, draws=5), galaxies)
    >>> result.n_matched
    24
    >>> result.to_frame().loc["bar", ["n_galaxies", "n_votes"]].to_list()
    [24, 266]
    """
    known = None if tree is None else load_tree(tree)
    table, voted = _table(predictions), _table(votes)
    known = tree_of_predictions(table) if known is None else known
    return evaluate_file(
        table,
        voted,
        tree=known,
        members_only=evaluation_stream,
        seed=seed,
        out=None if out is None else Path(out),
        progress=progress,
        read_as=ReadAs(columns=columns or {}, votes=votes_are),
        on_fault=_on_fault(faults, voted, known, columns),
    )


def score(
    tree: str | Path | Tree,
    draws: Posterior | Data | npt.ArrayLike,
    *,
    votes: float = 40,
    policy: PolicyName = "bald",
    weights: Mapping[str, float] | None = None,
    answer: str = AcquisitionPolicy().threshold_answer,
    survey: Posterior | Data | npt.ArrayLike | None = None,
    galaxy_ids: Sequence[str] | None = None,
) -> pd.Series:
    """Score galaxies by an acquisition policy: what their votes would teach.

    Parameters
    ----------
    tree
        Question tree: name, path or record; Q questions, A answers.
    draws
        What `posterior` returned; or an array (N, T, A) of posterior draws: of the answers' concentrations or, where
        the answers of each question sum to 1, of their fractions; or predictions with draws (`predict` with
        ``save_draws=True``), which are of fractions. Fractions of one network differ, too, so that votes tell their
        draws apart at once and scores crowd below ln T: rank by a posterior. Draw t must be the same network for
        every galaxy.
    votes
        Classifications that a galaxy would get, for the policies of BALD.
    policy
        ``bald`` (``power_bald`` and ``softmax_bald`` score alike), ``epig``, ``entropy`` or ``threshold``.
    weights
        Science weight by question, 1 where not given; a superseded question weighs 0.
    answer
        Answer column that ``threshold`` looks for.
    survey
        Draws of a uniform sample of the survey, which ``epig`` needs; as `draws`.
    galaxy_ids
        N ids of the rows of an array; numbered from 0 where None.

    Returns
    -------
    Series
        (N,) float64, nats (0 or 1 for ``threshold``), named after the policy and indexed by ``galaxy_id``. Those of
        BALD are the information of all questions' votes together, at most ln T.

    Raises
    ------
    BadInput
        The draws do not fit the tree, predictions have none, an id occurs twice, the policy is unknown or has no
        scores, or ``epig`` comes without a survey.
    NumericalFault
        A concentration is not finite and positive; rows are named.
    BadTree, BadVotes, NotFound
        The tree, the votes, or the name of a question or an answer is wrong.

    Examples
    --------
    >>> import alservice, numpy as np
    >>> tree = alservice.load_tree("gz2")
    >>> draws = np.random.default_rng(0).gamma(2.0, 2.0, size=(3, 30, tree.n_answers))
    >>> scores = alservice.score(tree, draws, votes=40, galaxy_ids=["a", "b", "c"])
    >>> scores.name, scores.index.to_list(), bool((scores > 0).all())
    ('bald', ['a', 'b', 'c'], True)
    """
    known = load_tree(tree)
    if policy not in get_args(PolicyName):
        raise BadInput(f"policy {policy!r} is none of {', '.join(get_args(PolicyName))}", policy=policy)
    concentrations, ids = _draws(known, draws, galaxy_ids)
    scores = policy_scores(
        policy,
        known,
        concentrations,
        votes=votes,
        weights=_weights(known, weights or {}),
        answer=answer,
        target=None if survey is None else _draws(known, survey, None)[0],
    )
    return pd.Series(scores, index=ids, name=policy)


def _table(data: Data) -> Table:
    if isinstance(data, pd.DataFrame):
        return frame_table(data)
    if isinstance(data, str | Path):
        return open_table(Path(data))
    raise BadInput(f"data must be a DataFrame or the path of a file, not {type(data).__name__}")


def _models(model: Model | Sequence[Model], draws: int) -> list[Path]:
    """Return the paths of models, if so many draws can be made."""
    if not 1 <= draws <= 1000:
        raise BadConfig(f"draws must be 1 to 1000, not {draws}", draws=draws)
    models = [model] if isinstance(model, TrainedModel | str | Path) else list(model)
    if not models:
        raise BadInput("there is no model to predict with")
    return [one.folder if isinstance(one, TrainedModel) else Path(one) for one in models]


def _on_fault(
    faults: Faults, table: Table, tree: Tree | None, columns: Mapping[str, str] | None
) -> Callable[[CatalogueFault], None]:
    """Return what is done at a row that cannot be used."""
    if faults not in get_args(Faults):
        raise BadConfig(f"faults must be 'raise' or 'skip', not {faults!r}", faults=faults)
    if faults == "skip":
        return ignore_fault
    of_images = _IMAGE_FIELDS | {(columns or {}).get("image", "image")}
    of_votes = {"votes", *(question.name for question in (tree.questions if tree else ()))}

    def refuse(fault: CatalogueFault) -> None:
        kind = BadVotes if fault.field in of_votes else BadImage if fault.field in of_images else BadInput
        who = "" if fault.galaxy_id is None else f" (galaxy {fault.galaxy_id!r})"
        raise kind(
            f"{table.path.name}: row {fault.row}{who}: {fault.field}: {fault.reason}; "
            "to go on without such rows, pass faults='skip'",
            row=fault.row,
            galaxy=fault.galaxy_id,
            field=fault.field,
        )

    return refuse


def _predictions(path: Path) -> pd.DataFrame:
    """Return a file of predictions; both formats give the same numbers, those of float32."""
    if path.suffix == ".csv":
        frame = pd.read_csv(path, dtype={_ID: str}, keep_default_na=False)
        frame[_ID] = frame[_ID].map(plain_cell).astype("str")
    else:
        frame = pd.read_parquet(path)
    numeric = frame.columns[[name != _ID and not name.endswith(f"_{DRAWS_SUFFIX}") for name in frame.columns]]
    frame[numeric] = frame[numeric].astype(np.float32).astype(np.float64)
    faults = pd.read_csv(faults_path(path), dtype={"galaxy_id": str}, keep_default_na=False)
    frame.attrs["faults"] = faults.to_dict("records")
    return frame


def _draws(
    tree: Tree, draws: Posterior | Data | npt.ArrayLike, galaxy_ids: Sequence[str] | None
) -> tuple[FloatArray, pd.Index | None]:
    """Return concentrations (N, T, A) and the index of the galaxies."""
    if isinstance(draws, pd.DataFrame | str | Path | Posterior) and galaxy_ids is not None:
        raise BadInput("a posterior and predictions have their own galaxy ids")
    if isinstance(draws, Posterior):
        check_tree(tree, draws)
        values, galaxy_ids = draws.concentrations, draws.galaxy_ids
    elif isinstance(draws, pd.DataFrame | str | Path):
        values, galaxy_ids = _draws_of_predictions(tree, _table(draws))
    else:
        values = _numbers(draws)
    if values.ndim != 3 or values.shape[2] != tree.n_answers or 0 in values.shape:
        raise BadInput(
            f"draws must be (galaxies, draws, {tree.n_answers} answers) for tree {tree.name!r}, not {values.shape}",
            shape=list(values.shape),
        )
    index = pd.Index(range(len(values)) if galaxy_ids is None else list(galaxy_ids), name=_ID)
    if len(index) != len(values):
        raise BadInput(f"{len(index)} galaxy ids do not fit {len(values)} rows of draws")
    if index.has_duplicates:
        raise BadInput(f"galaxy {index[index.duplicated()][0]!r} occurs twice")
    is_fraction = (np.abs(question_totals(tree, values) - 1) <= _SUM_TOLERANCE).all()
    return (values * _SHARP if is_fraction else values), index


def _numbers(draws: npt.ArrayLike) -> FloatArray:
    try:
        return np.asarray(draws, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"draws must be numbers in an array (galaxies, draws, answers): {error}") from error


def _draws_of_predictions(tree: Tree, table: Table) -> tuple[FloatArray, list[str]]:
    """Return the draws of fractions (N, T, A) and the ids of predictions."""
    require_ids(table, _ID)
    columns = [f"{column}_{DRAWS_SUFFIX}" for column in tree.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BadInput(
            f"{table.path.name}: column {missing[0]!r} is missing: predict with save_draws=True", column=missing[0]
        )
    ids: list[str] = []
    blocks: list[FloatArray] = []
    for batch in table.batches([_ID, *columns]):
        ids += [name or "" for name in texts(batch[_ID])]
        blocks.append(_numbers([batch[column].to_pylist() for column in columns]).transpose(1, 2, 0))
    return np.concatenate(blocks), ids


def _weights(tree: Tree, weights: Mapping[str, float]) -> FloatArray:
    """Return the science weight (Q,) of every question."""
    for name in weights:
        tree.index(name)  # refuses an unknown one
    return np.array([0.0 if q.superseded else weights.get(q.name, 1.0) for q in tree.questions])

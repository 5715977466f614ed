"""A backfill of votes in its folder: models cross-fitted, votes replayed, ``votes_saved.csv``, its plot and summary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from alservice import plots
from alservice.backfill.options import VotesOptions
from alservice.backfill.plan import ALL
from alservice.backfill.run import recorded_rows
from alservice.backfill.votes import (
    RULES,
    AskingRule,
    Replayed,
    VotesFigure,
    VotesResult,
    asking_points,
    judged_questions,
    recorded_fractions,
    replay_votes,
    volunteer_walks,
    votes_result,
)
from alservice.campaigns.campaign import EvaluationPolicy
from alservice.campaigns.trees import load_tree
from alservice.catalogue.files import ReadAs, said_of
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, evaluation_fraction, is_evaluation_member
from alservice.catalogue.tables import digest_of_table
from alservice.documents import document_of
from alservice.errors import BadConfig, BadInput, BadVotes
from alservice.ids import seed_of, stable_fraction
from alservice.learning.training import due_every
from alservice.network.architectures import Network
from alservice.network.config import FitConfig, resolve_device
from alservice.network.sampling import sample_ensemble
from alservice.offline.commands import EVALUATION_SEED, TrainingOptions
from alservice.offline.galaxies import ReadGalaxies, VotedGalaxies
from alservice.offline.prediction import fault_sheet
from alservice.offline.training import DRAWS_SEED, TrainNetwork, load_models, restored_model
from alservice.progress import Progress, utc_now
from alservice.science.bootstrap import Estimate
from alservice.science.fusion import fit_temper
from alservice.science.scorecard import TextTable
from alservice.science.stopping import StoppingPolicy
from alservice.science.stretch import asked_stretch, stretch_of
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray
from alservice.storage import images
from alservice.storage.csv import csv_lines
from alservice.storage.run_folder import RunFolder, claim_folder
from alservice.telemetry import code_revision

TABLE, PLOT, SUMMARY = "votes_saved.csv", "votes-saved", "votes_saved.txt"

_CHECKPOINT_EVERY: Final = timedelta(minutes=1)

_NOMINAL: Final = 1000
"""Galaxies for which the training is stated where a run is compared with an earlier one."""

_MOST_TEMPERING: Final = 500
"""Galaxies whose votes fit the tempers of a part: a factor per question needs no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What is asked, checked before a file is opened."""

    options: VotesOptions
    tree: Tree
    policy: StoppingPolicy
    device: str
    networks: tuple[Network, ...]
    digest: str | None

    def config(self, seed: int, fold: int, n_galaxies: int) -> FitConfig:
        """Return how the model that predicts a part is trained on so many galaxies."""
        options = self.options
        return TrainingOptions(
            network=options.network,
            seed=seed * options.folds + fold,
            steps=options.steps,
            epochs=options.epochs,
            batch=options.batch,
            px=options.px,
            field=options.field,
            threads=options.threads,
        ).config(n_galaxies, self.device)

    def document(self) -> dict[str, Any]:
        """Return what decides the result; seeds may be added later, and the cost is made anew."""
        options = self.options
        return (
            {
                "command": "backfill-votes",
                "data": "synthetic sky" if options.data is None else digest_of_table(options.data),
                "galaxies": options.galaxies,
                "tree": self.tree.hash,
                "policy": document_of(self.policy),
                "folds": options.folds,
                "draws": options.draws,
                "training": self.digest or document_of(self.config(0, 0, _NOMINAL)),
            }
            | asked_stretch(stretch_of(options.stretch))
            | said_of(options.images, ReadAs.of(options.column, options.votes_are))
        )

    @property
    def read_as(self) -> ReadAs:
        """What was said of the catalogue."""
        return ReadAs.of(self.options.column, self.options.votes_are)

    @property
    def images(self) -> tuple[int, int]:
        """Side (px) and channels of the images that networks see."""
        network = self.networks[0].config if self.networks else self.config(0, 0, 1).network
        return network.image_px, network.channels


def run_backfill_votes(options: VotesOptions, progress: Progress) -> VotesResult:
    """Train, replay and write what was found; the same options go on with what an earlier call left.

    Ready-made models predict, and are judged on, the members of the evaluation stream alone, which `alservice train`
    keeps out of every training.

    Raises
    ------
    BadConfig
        An option is impossible, such as a confidence outside (0.5, 1), or fewest votes above most; or models are to
        predict the synthetic sky, or answer another tree.
    NotFound
        A question is none of the tree's.
    BadInput, BadVotes
        The data cannot be read, has votes that no walk gives, or fewer galaxies than parts.
    Conflict
        The folder holds another run, or another process is at work in it.
    """
    asked = _asked(options)
    with claim_folder(options.out, asked.document()) as folder:
        galaxies = _read(asked, folder, progress)
        fractions = recorded_fractions(asked.tree, galaxies.galaxy_ids, galaxies.counts, galaxies.fractions)
        judges = galaxies.unbiased & judged_questions(asked.tree, fractions, asked.policy).any(axis=1)
        if asked.networks:
            judges &= galaxies.evaluation
        if not judges.any():
            raise BadVotes("no galaxy that may judge has votes on the questions that are replayed")
        replays = [_replay(asked, folder, galaxies, fractions, judges, seed, progress) for seed in range(options.seeds)]
        found = votes_result(asked.tree, replays, rng=np.random.default_rng(seed_of(0, "backfill-votes")))
        folder.write(TABLE, "".join(csv_lines(_csv_rows(found.figures))).encode())
        for name, content in plots.files(PLOT, votes_plot(found, options.max_votes)).items():
            folder.write(name, content)
        folder.write(SUMMARY, _summary(options, found, len(galaxies.galaxy_ids), int(judges.sum())).encode())
    return found


def _asked(options: VotesOptions) -> _Asked:
    tree = load_tree(options.tree)
    policy = StoppingPolicy(
        rule="label",
        confidence=options.confidence,
        min_gain=options.min_gain,
        min_votes=options.min_votes,
        max_votes=options.max_votes,
        questions=options.questions,
    )
    for name in options.questions:
        tree.index(name)
    device = resolve_device(options.device)
    networks, digest = (
        load_models([Path(each) for each in options.models], device=device) if options.models else ((), None)
    )
    if networks and options.data is None:
        raise BadConfig("models predict the evaluation stream of a file, which --data names")
    if networks and networks[0].tree.hash != tree.hash:
        raise BadConfig(f"the models answer tree {networks[0].tree.name!r}, not {tree.name!r}")
    asked = _Asked(options=options, tree=tree, policy=policy, device=device, networks=networks, digest=digest)
    asked.config(0, 0, 1)
    return asked


def _read(asked: _Asked, folder: RunFolder, progress: Progress) -> VotedGalaxies:
    options = asked.options
    rows, total, unbiased = recorded_rows(
        options.data,
        options.galaxies,
        asked.tree,
        stretch_of(options.stretch),
        images=options.images,
        read_as=asked.read_as,
    )
    fraction = evaluation_fraction(tuple(unbiased), seed=EVALUATION_SEED, otherwise=EvaluationPolicy().fraction)
    px, channels = asked.images
    reader = ReadGalaxies(
        tree=asked.tree,
        codec=images,
        progress=progress,
        size_px=px,
        channels=3 if channels == 3 else 1,
        evaluation_fraction=fraction,
        evaluation_seed=EVALUATION_SEED,
    )
    if asked.networks:
        rows = (row for row in rows if isinstance(row, CatalogueFault) or _is_member(row, fraction))
    galaxies, faults = reader.run(rows, total=None if asked.networks else total)
    folder.write("faults.csv", fault_sheet((f.row, f.galaxy_id, f.field, f.reason) for f in faults))
    if len(galaxies.galaxy_ids) < 2 * options.folds:
        raise BadInput(
            f"{len(galaxies.galaxy_ids)} galaxies are too few for {options.folds} folds, which need two each",
            galaxies=len(galaxies.galaxy_ids),
            folds=options.folds,
        )
    return galaxies


def _is_member(row: CatalogueRow, fraction: float) -> bool:
    return is_evaluation_member(row.galaxy_id, unbiased=row.unbiased, seed=EVALUATION_SEED, fraction=fraction)


def folds_of(galaxy_ids: Sequence[str], folds: int, seed: int) -> IntArray:
    """Return the part (N,) of each galaxy, by its id's hash: parts differ by one galaxy at most."""
    order = np.argsort([stable_fraction(f"fold:{seed}", galaxy_id) for galaxy_id in galaxy_ids], kind="stable")
    parts = np.empty(len(order), dtype=np.int64)
    parts[order] = np.arange(len(order)) % folds
    return parts


def _replay(
    asked: _Asked,
    folder: RunFolder,
    galaxies: VotedGalaxies,
    fractions: FloatArray,
    judges: BoolArray,
    seed: int,
    progress: Progress,
) -> Replayed:
    """Return the replay of one seed, from its file where it is done."""
    name, points = f"replay-{seed:03}.npz", asking_points(asked.policy)
    arrays = _load(folder, name)
    if arrays is None:
        parts = folds_of(galaxies.galaxy_ids, asked.options.folds, seed)
        concentrations = _concentrations(asked, folder, galaxies, parts, seed, progress)
        tempers = _tempers(asked.tree, concentrations, galaxies.counts, parts, judges)
        ids = [galaxies.galaxy_ids[row] for row in np.flatnonzero(judges)]
        progress.start(f"replay the votes of {len(ids)} galaxies", 1)
        replayed = replay_votes(
            asked.tree,
            fractions[judges],
            volunteer_walks(asked.tree, fractions[judges], ids, volunteers=asked.policy.max_votes, seed=seed),
            concentrations[judges],
            policy=asked.policy,
            temper=tempers[parts[judges]],
            seed=seed_of(seed, "majorities"),
        )
        progress.advance()
        progress.finish()
        arrays = {each: getattr(replayed, each) for each in ("votes", "right", "squared", "judged")}
        _save(folder, name, arrays)
    return Replayed(points=points, **arrays)


def _concentrations(
    asked: _Asked,
    folder: RunFolder,
    galaxies: VotedGalaxies,
    parts: IntArray,
    seed: int,
    progress: Progress,
) -> FloatArray:
    """Return posterior draws (N, T, A) by ready-made models, or for each part by a model of all others."""
    draws = asked.options.draws
    if asked.networks:
        name = "posterior.npz"
        kept = _load(folder, name)
        if kept is None:
            progress.start(f"predict {len(galaxies.galaxy_ids)} galaxies", 1)
            drawn, _ = sample_ensemble(
                asked.networks, galaxies.images, draws=draws, seed=DRAWS_SEED, device=asked.device
            )
            progress.advance()
            progress.finish()
            kept = {"concentrations": drawn}
            _save(folder, name, kept)
        ready: FloatArray = kept["concentrations"]
        return ready
    by_fold = [_predicted(asked, folder, galaxies, parts, seed, fold, progress) for fold in range(asked.options.folds)]
    concentrations = np.empty((len(parts), *by_fold[0].shape[1:]), dtype=np.float32)
    for fold, of_part in enumerate(by_fold):
        concentrations[parts == fold] = of_part
    return concentrations


def _predicted(
    asked: _Asked,
    folder: RunFolder,
    galaxies: VotedGalaxies,
    parts: IntArray,
    seed: int,
    fold: int,
    progress: Progress,
) -> FloatArray:
    """Return the posterior draws of a part by a model of all others, trained unless that is done."""
    name, checkpoint = f"posterior-{seed:03}-{fold:03}.npz", f"checkpoint-{seed:03}-{fold:03}.safetensors"
    kept = _load(folder, name)
    if kept is not None:
        concentrations: FloatArray = kept["concentrations"]
        return concentrations
    learn = galaxies.only(parts != fold)
    train = TrainNetwork(
        tree=asked.tree, device=asked.device, code_revision=code_revision(), progress=progress, as_surveyed=True
    )
    _, model = train.run(
        learn,
        asked.config(seed, fold, len(learn.galaxy_ids)),
        checkpoint=folder.read(checkpoint),
        on_checkpoint=lambda state: folder.write(checkpoint, state),
        is_due=due_every(_CHECKPOINT_EVERY, utc_now),
    )
    network, _, _ = restored_model(model, asked.tree, device=asked.device)
    drawn = train.draws(network, galaxies.only(parts == fold), asked.options.draws)
    _save(folder, name, {"concentrations": drawn})
    folder.remove(checkpoint)
    return drawn


def _tempers(
    tree: Tree, concentrations: FloatArray, counts: IntArray, parts: IntArray, judges: BoolArray
) -> FloatArray:
    """Return the factors (F, Q) of each part, fitted on votes of the other parts that their own models never saw."""
    found = []
    for fold in range(int(parts.max()) + 1):
        others = np.flatnonzero((parts != fold) & judges)
        rows = (others if len(others) else np.flatnonzero(parts != fold))[:_MOST_TEMPERING]
        found.append(fit_temper(tree, concentrations[rows], counts[rows]))
    return np.stack(found)


def _load(folder: RunFolder, name: str) -> dict[str, Any] | None:
    data = folder.read(name)
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {each: file[each] for each in file.files}
    except (ValueError, OSError) as error:
        raise BadInput(f"{folder.path / name}: is damaged; remove it to do it again", path=str(folder.path)) from error


def _save(folder: RunFolder, name: str, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    folder.write(name, buffer.getvalue())


_MEASURES: Final = {"votes_per_galaxy": "votes", "label_accuracy": "accuracy", "rmse": "rmse"}


def _csv_rows(figures: Sequence[VotesFigure]) -> list[list[object]]:
    named = [f"{name}{end}" for name in _MEASURES for end in ("", "_low", "_high")]
    rows: list[list[object]] = [["question", "rule", "confidence", "min_gain", "max_votes", "galaxies", *named]]
    for figure in figures:
        point = figure.point
        thresholds = ["" if each is None else each for each in (point.confidence, point.min_gain)]
        estimates: list[Estimate] = [getattr(figure, field) for field in _MEASURES.values()]
        values = [f"{value:.6g}" for e in estimates for value in (e.value, e.low, e.high)]
        rows.append([figure.question, point.rule, *thresholds, point.max_votes, figure.galaxies, *values])
    return rows


def votes_plot(found: VotesResult, max_votes: int) -> plots.Picture:
    """Return label accuracy over the whole tree by votes per galaxy, a curve with its interval per rule."""
    curves = {
        rule: sorted(
            (f for f in found.figures if (f.question, f.point.rule) == (ALL, rule)), key=lambda f: f.votes.value
        )
        for rule in RULES
    }
    x = plots.horizontal([0.0, float(max_votes)])
    shown = [f.accuracy for own in curves.values() for f in own]
    y = plots.vertical([end for each in shown for end in (each.low, each.high)])
    kinds = dict(zip(RULES, plots.SERIES, strict=False))
    marks = [*plots.frame(y, "label accuracy"), *plots.x_ticks(x, "votes per galaxy")]
    for rule, own in curves.items():
        low, high = ([(f.votes.value, getattr(f.accuracy, end)) for f in own] for end in ("low", "high"))
        marks.append(plots.band(x, y, low, high, kinds[rule]))
    for rule, own in curves.items():
        marks += plots.curve(x, y, [(f.votes.value, f.accuracy.value) for f in own], kinds[rule], radius=2.0)
    marks += plots.legend((kinds[rule], rule) for rule in RULES)
    said = (
        "Share of labels that agree with all recorded votes, over all questions of a galaxy that are judged, by votes "
        "per galaxy, as each rule asks; 95 % intervals over seeds and galaxies"
    )
    return plots.Picture(title="Votes that a label needs", said=said, marks=tuple(marks))


def _summary(options: VotesOptions, found: VotesResult, n_galaxies: int, n_judges: int) -> str:
    ready = ", ".join(Path(each).name for each in options.models)
    models = f"models that never saw them: {ready}" if ready else f"network {options.network}"
    part = "evaluation stream" if ready else "unbiased part"
    lead = (
        f"{n_galaxies:,} galaxies, of which {n_judges:,} of the {part} judge; {options.seeds} seeds of "
        f"{options.folds} folds, {models}. The truth is what all recorded votes say."
    )
    tables = (_needed_table(options, found), _certain_table(options, found), _cost_table(options, found))
    return "\n\n".join([lead, *(table.text() for table in tables)]) + "\n"


def _needed_table(options: VotesOptions, found: VotesResult) -> TextTable:
    galaxies = {f.question: f.galaxies for f in found.figures}
    names = list(dict.fromkeys(saving.question for saving in found.savings))
    by_rule = {(saving.question, saving.rule): saving for saving in found.savings}
    labels: tuple[AskingRule, ...] = ("sequential", "sequential+model", "gain+model")
    fractions: tuple[AskingRule, ...] = ("sequential+model", "fixed+model")
    rows = [
        (
            name,
            f"{galaxies[name]:,}",
            *(_needed(by_rule[name, rule].labels, reached=by_rule[name, rule].labels_reached) for rule in labels),
            *(
                _needed(by_rule[name, rule].fractions, reached=by_rule[name, rule].fractions_reached)
                for rule in fractions
            ),
        )
        for name in names
    ]
    return TextTable(
        title=f"Votes per galaxy to be as good as {options.max_votes} votes for all, 95 % intervals over seeds and "
        "galaxies; > where the curve never is, and all votes count",
        head=(
            "question",
            "galaxies",
            *(f"labels: {rule}" for rule in labels),
            *(f"RMSE: {rule}" for rule in fractions),
        ),
        rows=tuple(rows),
    )


def _needed(estimate: Estimate, *, reached: bool) -> str:
    return f"{'' if reached else '>'}{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _certain_table(options: VotesOptions, found: VotesResult) -> TextTable:
    shown = [
        f
        for f in found.figures
        if f.point.confidence == options.confidence
        or f.point.min_gain == options.min_gain
        or (f.point.rule == "fixed" and f.point.max_votes == options.max_votes)
    ]
    rows = [(f.question, f.point.rule, *(_three(each) for each in (f.votes, f.accuracy, f.rmse))) for f in shown]
    return TextTable(
        title=f"Asked until the majority is certain to {options.confidence:g}, or each further vote makes "
        f"{options.min_gain:g} labels right at most, {options.min_votes} to {options.max_votes} votes",
        head=("question", "rule", "votes per galaxy", "label accuracy", "RMSE"),
        rows=tuple(rows),
    )


def _three(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _cost_table(options: VotesOptions, found: VotesResult) -> TextTable:
    rows = [("fixed", f"{options.max_votes:.1f}", *_cost(options, float(options.max_votes)))]
    rows += [
        (saving.rule, _needed(saving.labels, reached=saving.labels_reached), *_cost(options, saving.labels.value))
        for saving in found.savings
        if saving.question == ALL and not saving.rule.startswith("fixed")
    ]
    return TextTable(
        title=f"A survey of {options.survey:,} galaxies at {options.per_day:,.0f} classifications a day (assumed), at "
        "equal label accuracy over the tree",
        head=("rule", "votes per galaxy", "votes", "volunteer days"),
        rows=tuple(rows),
    )


def _cost(options: VotesOptions, votes_per_galaxy: float) -> tuple[str, str]:
    votes = options.survey * votes_per_galaxy
    return f"{votes:,.0f}", f"{votes / options.per_day:,.1f}"

"""Databases that the web service's tests look at: a campaign of some cycles with everything a page can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from sqlalchemy import Engine, insert

from alservice.acquisition.batch import Acquired, AcquisitionBatch, BatchPolicy
from alservice.acquisition.policies import SelectionOverlap
from alservice.app import App
from alservice.campaigns.campaign import StoppingRule, Tier, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.campaigns.policies import Arm, GatePolicy
from alservice.campaigns.store import CampaignRow, CycleRun, Event
from alservice.catalogue.galaxies import CatalogueRow, Shard
from alservice.documents import document_of
from alservice.learning.drift import DriftFigure, DriftSample
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.files import ModelCard, to_bytes
from alservice.registry.records import Check, CycleStatistics, GateDecision, Model, ModelEvaluation
from alservice.science.bootstrap import Estimate, Figure
from alservice.science.evaluation import AnswerFigures, Evaluation, FractionFigures, QuestionFigures
from alservice.science.posterior import Posterior
from alservice.science.votes import TallySet, tally_set
from alservice.sky.galaxies import synthetic_sky
from alservice.states import SubjectState
from alservice.storage import arrays as packs
from alservice.storage.postgres import transaction
from alservice.subjects import schema as subjects_schema
from alservice.subjects.stops import FusedModel
from alservice.subjects.subject import draft_subject
from alservice.votes import schema as votes_schema
from tests.support.worlds import NOON, TREE, import_rows, make_campaign, make_factory

HOSTILE = "<script>alert(1)</script>"
"""Text from outside that no page may run."""

FORMULA = "=HYPERLINK(1)"
"""Galaxy id that a spreadsheet would run."""

ODD: Mapping[int, str] = {5: FORMULA, 6: f"g{HOSTILE}", 7: "survey/field 7"}
"""Rows of the catalogue with ids that need care."""

GALAXIES = 60
"""Galaxies of the populated campaign."""

TICKS = 7
"""Runs of ingest that worked on each of its cycles."""


class Hands:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def forward(self, **span: float) -> None:
        """Go on by a span."""
        self.now += timedelta(**span)


@dataclass(frozen=True, kw_only=True)
class World:
    """A factory with a populated campaign.

    Parameters
    ----------
    held
        The newest cycle, which waits for a person.
    """

    factory: App
    hands: Hands
    campaign: CampaignRow
    held: Cycle
    models: Sequence[Model]


def moving_factory(engine: Engine, folder: Path) -> tuple[App, Hands]:
    """Return a factory on an empty database, and the hands of its clock."""
    hands = Hands()
    return replace(make_factory(engine, folder), clock=hands), hands


def populate(
    engine: Engine, folder: Path, *, cycles: int = 5, name: str = "gz-demo", odd: Mapping[int, str] = ODD
) -> World:
    """Fill a database: finished cycles, one that is held, votes, subjects in every state, posteriors, events.

    Rows of `odd` get these ids.
    """
    factory, hands = moving_factory(engine, folder)
    rng = np.random.default_rng(7)
    campaign = import_rows(factory, make_campaign(name=name), _rows(rng, odd))
    ids = _galaxy_ids(factory, campaign)
    models: list[Model] = []
    for number in range(cycles):
        last = number == cycles - 1
        champion = factory.models.champion(campaign.id)
        cycle = factory.cycle.start(campaign.settings.name, actor="prefect:brisk-otter")
        drawn = ids[number * 12 : number * 12 + 12]
        cycle = _ask(factory, hands, cycle, drawn, champion, rng)
        for tick, flow in enumerate(("weekly-cycle", *["ingest"] * TICKS)):
            factory.runs.note(_run(name, cycle, flow, hands() + timedelta(minutes=15 * tick)))
        if number == 1:
            cycle = _stop_and_resume(factory, hands, cycle)
        _vote(engine, factory, hands, campaign, drawn, rng, fresh=last)
        cycle, model = _learn(factory, hands, campaign, cycle, champion, rng, ids[: (number + 1) * 12])
        models.append(model)
        cycle = factory.models.settle(cycle, _decision(number, held=last, rng=rng), actor="prefect:brisk-otter")
        factory.snapshots.save_statistics(_drift(cycle, rng, alarm=last), ())
        if not last:
            hands.forward(minutes=1)
            cycle = factory.cycles.move(cycle, CycleState.DONE, actor="prefect:brisk-otter", detail={})
            hands.forward(days=5)
    _subjects_in_every_state(factory, campaign, cycle)
    _predict(factory, campaign, cycle.catalogue_id, models, ids, rng)
    _quarantine(engine, campaign, hands)
    hands.forward(hours=3)
    return World(factory=factory, hands=hands, campaign=campaign, held=cycle, models=models)


def _run(campaign: str, cycle: Cycle, flow: str, at: datetime) -> CycleRun:
    name = f"{campaign} cycle {cycle.number}: {flow}"
    run_id = str(uuid5(NAMESPACE_URL, f"{name} at {at}"))
    return CycleRun(cycle_id=cycle.id, run_id=run_id, flow=flow, name=name, began_at=at)


def populate_beside(engine: Engine, folder: Path) -> None:
    """Add campaigns of other kinds beside the populated one, each with a cycle that is stopped.

    ``gz-moves`` moves subjects that are there already; it trained twice on votes that it had, has a shadow beside its
    champion, and a cycle that was cancelled. ``gz-tiers`` has a workflow per number of votes, and a cycle that failed.
    """
    factory, hands = moving_factory(engine, folder)
    rng = np.random.default_rng(11)
    moves = ZooniverseTarget(mode="move", pool_subject_set="all galaxies", retirement="own")
    campaign = import_rows(factory, make_campaign(name="gz-moves", shadow=True, zooniverse=moves), _rows(rng, ODD))
    ids = _galaxy_ids(factory, campaign)
    models: list[Model] = []
    for number, verdict in enumerate(("promote", "reject")):
        champion = factory.models.champion(campaign.id)
        cycle = factory.cycle.start(campaign.settings.name, actor="prefect:old-owl", kind=CycleKind.RETRAIN)
        cycle, model = _learn(factory, hands, campaign, cycle, champion, rng, ids[: 12 * (number + 1)])
        models.append(model)
        decision = replace(_decision(number, held=False, rng=rng), verdict=verdict)
        cycle = factory.models.settle(cycle, decision, actor="prefect:old-owl")
        factory.cycles.move(cycle, CycleState.DONE, actor="prefect:old-owl", detail={})
    cycle = factory.cycle.start(campaign.settings.name, actor="prefect:old-owl")
    cycle = _ask(factory, hands, cycle, ids[:12], models[0], rng)
    factory.snapshots.save_statistics(_shadow(cycle, models), ())
    factory.cycle.cancel(cycle.id, reason="a person asked for it", actor="prefect:old-owl")
    tiers = tuple(Tier(votes=votes, subject_set=f"asks {votes}", workflow_id=votes) for votes in (3, 40))
    tiered = make_campaign(name="gz-tiers", zooniverse=ZooniverseTarget(tiers=tiers))
    campaign = import_rows(factory, tiered, _rows(rng, ODD))
    cycle = factory.cycle.start(campaign.settings.name, actor="prefect:new-newt")
    cycle = _ask(factory, hands, cycle, _galaxy_ids(factory, campaign)[:12], None, rng)
    factory.cycle.fail(cycle.id, OSError("Zooniverse answered 503 five times"), actor="prefect:new-newt")


def _galaxy_ids(factory: App, campaign: CampaignRow) -> list[str]:
    catalogue = factory.catalogues.newest(campaign.id)
    assert catalogue is not None
    return [galaxy.galaxy_id for galaxy in factory.catalogues.galaxies(catalogue.id)]


def _shadow(cycle: Cycle, models: Sequence[Model]) -> CycleStatistics:
    champion, shadow = models
    overlap = SelectionOverlap(n_galaxies=48, top=5, common=0.4, chance=0.1, rank_correlation=0.62)
    document = {"champion": champion.id, "shadow": shadow.id, **asdict(overlap)}
    return CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="shadow", document=document)


def fail_cycle(world: World) -> None:
    """Reject the held candidate, finish, and let the next cycle fail in its first step, with a hostile message."""
    factory = world.factory
    decision = factory.models.decision(world.held.id)
    assert decision is not None
    kept = factory.models.settle(world.held, replace(decision, verdict="reject"), actor="token:test")
    factory.cycles.move(kept, CycleState.DONE, actor="prefect:brisk-otter", detail={})
    cycle = factory.cycle.start(world.campaign.settings.name, actor="prefect:brisk-otter")
    world.hands.forward(minutes=4)
    factory.cycle.fail(cycle.id, OSError(f"disk is gone {HOSTILE}"), actor="prefect:brisk-otter")


def ask_again(world: World) -> Cycle:
    """Keep the champion, and bring the next cycle in front of volunteers."""
    factory = world.factory
    kept = factory.models.keep(world.held, actor="token:test", reason="not better")
    factory.cycles.move(kept, CycleState.DONE, actor="prefect:brisk-otter", detail={})
    cycle = factory.cycle.start(world.campaign.settings.name, actor="prefect:calm-heron")
    drawn = [galaxy.galaxy_id for galaxy in factory.catalogues.galaxies(cycle.catalogue_id)][-12:]
    champion = factory.models.champion(world.campaign.id)
    return _ask(factory, world.hands, cycle, drawn, champion, np.random.default_rng(8))


EARLY = "gz-early"
"""Campaign that stops asking early."""


def ask_early(world: World) -> tuple[str, str]:
    """Add a campaign whose champion is fused with votes; return a galaxy of which enough is known, and one that is not.

    The champion knows nothing: half of the galaxies have votes of one mind, the others of two.
    """
    factory, hands = world.factory, world.hands
    rng = np.random.default_rng(13)
    target = ZooniverseTarget(retirement="posterior", stopping=StoppingRule(rule="label", min_votes=3))
    campaign = import_rows(factory, make_campaign(name=EARLY, zooniverse=target), _rows(rng, ODD))
    ids = _galaxy_ids(factory, campaign)
    cycle = factory.cycle.start(EARLY, actor="prefect:keen-kite", kind=CycleKind.RETRAIN)
    cycle, model = _learn(factory, hands, campaign, cycle, None, rng, ids[12:24])
    cycle = factory.models.settle(cycle, _decision(0, held=False, rng=rng), actor="prefect:keen-kite")
    factory.cycles.move(cycle, CycleState.DONE, actor="prefect:keen-kite", detail={})
    _predict(factory, campaign, cycle.catalogue_id, [model, model], ids, rng)
    cycle = _ask(factory, hands, factory.cycle.start(EARLY, actor="prefect:keen-kite"), ids[:12], model, rng)
    factory.stops.save_fused(
        FusedModel(
            cycle_id=cycle.id, model_id=model.id, temper={q.name: 0.5 for q in TREE.questions}, n_galaxies=9, n_votes=99
        ),
        Event(campaign_id=campaign.id, cycle_id=cycle.id, at=hands(), actor="test", kind="stopping.model", detail={}),
    )
    drawn = [a.galaxy_id for a in factory.acquisitions.get(cycle.id) or () if a.arm == Arm.INFORMATIVE]
    members = {g.galaxy_id for g in factory.catalogues.by_id(cycle.catalogue_id, drawn) if g.evaluation}
    known, unknown = [galaxy_id for galaxy_id in drawn if galaxy_id not in members][:2]
    artifact = TREE.column("smooth-or-featured_artifact")
    tallies = [_tally(campaign, known, {artifact: 18}), _tally(campaign, unknown, {artifact: 5, artifact - 2: 5})]
    with transaction(factory.engine) as connection:
        connection.execute(insert(votes_schema.tallies), tallies)
    factory.stopping.decide(campaign, cycle, actor="prefect:keen-kite")
    return known, unknown


EXPLORED = "gz-explore"
"""Campaign whose catalogue is predicted with embeddings, and indexed."""


def explored(factory: App, hands: Hands, *, name: str = EXPLORED) -> CampaignRow:
    """Add a campaign whose champion, which learned nothing, has predicted its catalogue; build its index."""
    rng = np.random.default_rng(17)
    policy = replace(make_campaign().acquisition, requested_share=1.0)
    campaign = import_rows(factory, make_campaign(name=name, acquisition=policy), _rows(rng, ODD))
    ids = _galaxy_ids(factory, campaign)
    promote(factory, hands, campaign, ids[:12], number=0)
    factory.explore.build(name)
    return campaign


def promote(factory: App, hands: Hands, campaign: CampaignRow, voted: Sequence[str], *, number: int) -> Model:
    """Make a model champion in a cycle that only trains; return it."""
    actor, rng = "prefect:tall-tern", np.random.default_rng(number)
    champion = factory.models.champion(campaign.id)
    cycle = factory.cycle.start(campaign.settings.name, actor=actor, kind=CycleKind.RETRAIN)
    cycle, model = _learn(factory, hands, campaign, cycle, champion, rng, voted)
    cycle = factory.models.settle(cycle, _decision(number, held=False, rng=rng), actor=actor)
    factory.cycles.move(cycle, CycleState.DONE, actor=actor, detail={})
    return model


def _tally(campaign: CampaignRow, galaxy_id: str, votes: Mapping[int, int]) -> dict[str, object]:
    counts = [votes.get(column, 0) for column in range(TREE.n_answers)]
    n = sum(votes.values())
    return {"campaign_id": campaign.id, "galaxy_id": galaxy_id, "classifications": n, "votes": counts, "last_id": 1}


def _rows(rng: np.random.Generator, odd: Mapping[int, str]) -> list[CatalogueRow]:
    rows = []
    for number, galaxy in enumerate(synthetic_sky(TREE, n=GALAXIES, seed=3, size_px=160), start=1):
        rows.append(
            CatalogueRow(
                row=number,
                galaxy_id=odd.get(number, galaxy.galaxy_id),
                ra_deg=galaxy.ra_deg,
                dec_deg=galaxy.dec_deg,
                image=galaxy.image,
                unbiased=True,
                fractions=None,
                n_votes=None,
            )
        )
    return rows


def _ask(
    factory: App, hands: Hands, cycle: Cycle, drawn: Sequence[str], champion: Model | None, rng: np.random.Generator
) -> Cycle:
    actor = "prefect:brisk-otter"
    hands.forward(minutes=2)
    if champion is not None:
        cycle = factory.cycles.move(cycle, CycleState.PREDICTING, actor=actor, detail={"image_shards": 8})
        hands.forward(minutes=21)
    detail = {"requested": GALAXIES, "done": GALAXIES, "failed": 0}
    cycle = factory.cycles.move(cycle, CycleState.ACQUIRING, actor=actor, detail=detail)
    batch = _batch(drawn, champion, rng)
    factory.acquisitions.save(cycle.id, batch, n_votes=40)
    hands.forward(minutes=1)
    detail = dict(Counter(str(galaxy.arm) for galaxy in batch.galaxies))
    cycle = factory.cycles.move(cycle, CycleState.PUBLISHING, actor=actor, detail=detail)
    galaxies = factory.catalogues.by_id(cycle.catalogue_id, sorted(drawn))
    campaign = factory.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
    drafts = [draft_subject(campaign.name, cycle.number, galaxy) for galaxy in galaxies]
    subjects = factory.ledger.plan(cycle, drafts, n_votes=40)
    factory.ledger.mark(subjects, SubjectState.CREATING)
    told = {subject.id: 90_000_000 + subject.id for subject in subjects}
    for state in (SubjectState.CREATED, SubjectState.VERIFIED, SubjectState.LIVE):
        factory.ledger.mark(subjects, state, zooniverse_ids=told)
    hands.forward(minutes=6)
    deadline = hands.now + timedelta(days=3)
    return factory.cycles.move(
        cycle, CycleState.COLLECTING, actor=actor, detail={"live": len(drawn)}, deadline=deadline
    )


def _batch(drawn: Sequence[str], champion: Model | None, rng: np.random.Generator) -> AcquisitionBatch:
    n = len(drawn) * 3 // 4 if champion is not None else 0
    scores = np.sort(rng.gamma(3, 0.12, n))[::-1]
    galaxies = [
        Acquired(galaxy_id=drawn[i], arm="informative", score_nats=float(score), inclusion_probability=0.3, rank=i + 1)
        for i, score in enumerate(scores)
    ]
    others = [arm for arm in Arm if arm is not Arm.INFORMATIVE]
    galaxies += [
        Acquired(galaxy_id=galaxy, arm=others[i % 3], score_nats=None, inclusion_probability=0.05, rank=i // 3 + 1)
        for i, galaxy in enumerate(drawn[n:])
    ]
    each = (len(drawn) - n) // 3
    return AcquisitionBatch(
        galaxies=tuple(galaxies),
        policy=BatchPolicy(
            rule="power", informative=n, random=each, evaluation=each, easy=each, members_in_random=False
        ),
        seed=11,
        offered=GALAXIES,
        eligible=GALAXIES - 12,
        eligible_members=10,
        excluded={"labelled": 12},
    )


def _stop_and_resume(factory: App, hands: Hands, cycle: Cycle) -> Cycle:
    factory.cycle.fail(cycle.id, OSError("Zooniverse answered 503 five times"), actor="prefect:sleepy-crab")
    hands.forward(minutes=12)
    return factory.cycle.resume(cycle.id, actor="prefect:brisk-otter")


def _vote(
    engine: Engine,
    factory: App,
    hands: Hands,
    campaign: CampaignRow,
    drawn: Sequence[str],
    rng: np.random.Generator,
    *,
    fresh: bool,
) -> None:
    """Write classifications over some hours, and the tallies they would give."""
    rows, now = [], hands.now
    first = int(now.timestamp())
    for hour in range(60 if fresh else 6):
        at = now + timedelta(hours=hour)
        for place in range(int(rng.poisson(9 + 7 * np.sin(hour / 3.8) ** 2))):
            number = first * 100 + hour * 100 + place
            rows.append(
                {
                    "campaign_id": campaign.id,
                    "classification_id": number,
                    "workflow_id": 1,
                    "workflow_version": "1.1",
                    "seen_before": False,
                    "live_project": True,
                    "created_at": at,
                    "annotations": "[]",
                    "galaxy_id": drawn[place % len(drawn)],
                    "answers": [0],
                    "abstentions": 0,
                    "verdict": "repeat" if place == 3 else "counted",
                    "source": "export" if hour % 7 == 0 else "api",
                    "received_at": at,
                    "gold_standard": False,
                    "after_retirement": False,
                    "answers_from": "api",
                }
            )
    starts = [answers.start for answers in TREE.slices]
    tallies = [
        {
            "campaign_id": campaign.id,
            "galaxy_id": galaxy,
            "classifications": 40,
            "votes": _counts(rng, starts).tolist(),
            "last_id": 1,
        }
        for galaxy in drawn
    ]
    hands.forward(hours=60 if fresh else 6)
    with transaction(engine) as connection:
        connection.execute(insert(votes_schema.classifications), rows)
        connection.execute(insert(votes_schema.tallies), tallies)
    with factory.classifications.landing(campaign.id) as landing:
        landing.move_cursor("api", first * 100)


def _counts(rng: np.random.Generator, starts: Sequence[int]) -> np.ndarray:
    counts = np.zeros(TREE.n_answers, dtype=np.int64)
    for index, answers in enumerate(TREE.slices):
        size = answers.stop - answers.start
        counts[answers] = rng.multinomial(40 if index == 0 else 12, rng.dirichlet(np.ones(size)))
    return counts


def _learn(
    factory: App,
    hands: Hands,
    campaign: CampaignRow,
    cycle: Cycle,
    champion: Model | None,
    rng: np.random.Generator,
    voted: Sequence[str],
) -> tuple[Cycle, Model]:
    actor = "prefect:brisk-otter"
    n_answers = TREE.n_answers
    tallies = tally_set({galaxy: np.full(n_answers, 3, dtype=np.int64) for galaxy in voted}, n_answers)
    kept = packs.encode_counts(tallies.galaxy_ids, tallies.counts, TREE.columns)
    snapshot = factory.snapshots.save(
        cycle,
        key=factory.objects.put(kept, kind="tallies", suffix=".parquet").key,
        tallies=tallies,
        reducer="1",
        n_inconsistent=0,
    )
    cycle = factory.cycles.move(cycle, CycleState.TRAINING, actor=actor, detail={"new_votes": tallies.n_votes})
    card = _card(tallies, seed=cycle.number)
    weights = to_bytes(build_network(card.network, TREE, seed=card.seed).state_dict(), card)
    stored = factory.objects.put(weights, kind="models", suffix=".safetensors")
    digest = stored.digest
    model = factory.models.save(cycle, key=stored.key, digest=digest, snapshot_id=snapshot.id, card=card.document())
    cycle = factory.cycles.get(cycle.id)
    hands.forward(minutes=38)
    cycle = factory.cycles.move(cycle, CycleState.EVALUATING, actor=actor, detail={"model": digest})
    value = 0.21 * 0.93**cycle.number
    for judged, own in ((model, value), (champion, value * 1.06)):
        if judged is not None:
            factory.snapshots.save_evaluation(
                ModelEvaluation(
                    cycle_id=cycle.id, cycle_number=cycle.number, model_id=judged.id, evaluation=_evaluation(own, rng)
                )
            )
    hands.forward(minutes=3)
    cycle = factory.cycles.move(cycle, CycleState.GATED, actor=actor, detail={"nll_per_vote": value})
    hands.forward(minutes=1)
    return cycle, model


def _evaluation(value: float, rng: np.random.Generator) -> Evaluation:
    tolerances = (0.02, 0.05, 0.1, 0.2)
    errors = tuple(float(v) for v in rng.normal(0.12, 0.05, 4) * np.array([1, 0.7, 0.4, 0.2]))
    return Evaluation(
        n_galaxies=312,
        n_votes=12_480,
        nll_per_vote=Estimate(value=value, low=value - 0.006, high=value + 0.006),
        tolerances=tolerances,
        questions=tuple(
            QuestionFigures(
                question=question.name,
                n_galaxies=312,
                n_votes=4_000,
                nll_per_vote=Figure(value=value),
                fractions=_fractions(question.name, float(rng.uniform(0.08, 0.2)), errors),
            )
            for question in TREE.questions
        ),
        answers=tuple(AnswerFigures(fractions=_fractions(column, 0.12, errors)) for column in TREE.columns),
    )


def _fractions(name: str, rmse: float, errors: tuple[float, ...]) -> FractionFigures:
    return FractionFigures(
        name=name,
        n_judged=250,
        rmse=Figure(value=rmse),
        crps_votes=Figure(value=2.0),
        coverage_error=tuple(Figure(value=error) for error in errors),
    )


def _drift(cycle: Cycle, rng: np.random.Generator, *, alarm: bool) -> CycleStatistics:
    """Return a cycle's drift: the first is what others are compared with, and an alarm is its vote rate."""
    shares = {"ks brightness": 0.25, "ks axis ratio": 0.25, "abstention": 0.2, "labels smooth-or-featured": 0.2}
    figures = [DriftFigure(name="vote-rate", value=0.21 if alarm else 1.3, threshold=3.0, alarm=alarm)]
    figures += [
        DriftFigure(name=name, value=float(rng.uniform(0.1, 0.8)) * most, threshold=most, alarm=False)
        for name, most in shares.items()
    ]
    document = {"sample": document_of(DriftSample()), "figures": [document_of(f) for f in figures if cycle.number]}
    return CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="drift", document=document)


def _decision(number: int, *, held: bool, rng: np.random.Generator) -> GateDecision:
    checks = [
        Check(
            name="nll-per-vote",
            value=-0.0021,
            low=-0.0064,
            high=0.0031 if held else -0.0004,
            margin=0.002,
            passed=not held,
            detail="Candidate minus champion on 312 galaxies.",
        ),
        *(
            Check(
                name=f"rmse {question.name}",
                value=(middle := float(rng.normal(-0.002, 0.004))),
                low=middle - 0.006,
                high=middle + 0.006,
                margin=0.02,
                passed=True,
                detail="Candidate minus champion on 250 galaxies.",
            )
            for question in TREE.questions[:4]
        ),
    ]
    first = Check(name="first-model", value=None, low=None, high=None, margin=None, passed=True, detail="No champion.")
    return GateDecision(
        verdict="hold" if held else "promote",
        n_galaxies=312,
        n_votes=12_480,
        checks=tuple(checks) if number else (first,),
        policy=GatePolicy(),
    )


def _card(tallies: TallySet, *, seed: int) -> ModelCard:
    """Return the card of a network that has learned nothing."""
    return ModelCard(
        network=NetworkConfig(image_px=16, heads=1),
        training={},
        tree=TREE.name,
        tree_hash=TREE.hash,
        data_digest=tallies.digest,
        n_galaxies=len(tallies.galaxy_ids),
        n_votes=tallies.n_votes,
        seed=seed,
        code_revision="0a1b2c3",
        history=(),
    )


def _subjects_in_every_state(factory: App, campaign: CampaignRow, cycle: Cycle) -> None:
    rows = list(factory.ledger.of_campaign(campaign.id))
    factory.ledger.mark(rows[:20], SubjectState.RETIRED)
    factory.ledger.mark(rows[20:23], SubjectState.WITHDRAWN)
    with transaction(factory.engine) as connection:
        for place, (state, error) in enumerate(
            (
                (SubjectState.PLANNED, None),
                (SubjectState.CREATING, None),
                (SubjectState.FAILED, f"image refused: {HOSTILE}"),
            )
        ):
            connection.execute(
                insert(subjects_schema.subjects).values(
                    campaign_id=campaign.id,
                    cycle_id=cycle.id,
                    galaxy_id=f"extra-{place}",
                    key=f"extra-key-{place}",
                    image_key="images/none",
                    state=state,
                    n_votes=40,
                    attempts=place,
                    error=error,
                    created_at=NOON,
                    updated_at=NOON,
                )
            )


def _predict(
    factory: App,
    campaign: CampaignRow,
    catalogue_id: int,
    models: Sequence[Model],
    ids: Sequence[str],
    rng: np.random.Generator,
) -> None:
    size = campaign.settings.images.shard_galaxies
    champion = models[-2]
    for index, first in enumerate(range(0, len(ids), size)):
        names = tuple(ids[first : first + size])
        posterior = Posterior(
            galaxy_ids=names,
            concentrations=rng.gamma(2.0, 4.0, (len(names), 10, TREE.n_answers)).astype(np.float32) + 0.1,
            embeddings=np.zeros((len(names), 0), dtype=np.float16),
            tree_hash=TREE.hash,
            model=champion.digest,
        )
        stored = factory.objects.put(packs.encode_posterior(posterior), kind="posteriors", suffix=".parquet")
        shard = Shard(index=index, key=stored.key, n_galaxies=len(names), n_failed=0)
        factory.models.save_posterior_shard(champion.id, catalogue_id, "catalogue", shard)


def _quarantine(engine: Engine, campaign: CampaignRow, hands: Hands) -> None:
    rows = [
        {
            "campaign_id": campaign.id,
            "digest": f"digest {number}",
            "source": "export-2026-01.csv",
            "row": number,
            "field": "annotations",
            "reason": f"is not JSON: {HOSTILE}",
            "received_at": hands.now,
        }
        for number in range(1, 4)
    ]
    with transaction(engine) as connection:
        connection.execute(insert(votes_schema.quarantined_rows), rows)

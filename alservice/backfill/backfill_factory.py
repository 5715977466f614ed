"""A backfill in its folder: galaxies read once, runs in any process, then curves, savings and a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alservice.backfill.backfill_asked import Backfill
from alservice.backfill.backfill_rounds import RoundFolder
from alservice.backfill.plan import Round, Target, target_of
from alservice.backfill.replay import INITIAL, Learner, Replay
from alservice.backfill.run import keep_embeddings, keep_galaxies, read_embeddings, read_galaxies
from alservice.errors import BadConfig
from alservice.learning.gate import GatePolicy
from alservice.network.device import resolve_device, use_threads
from alservice.offline.model_files import load_model
from alservice.offline.refit_heads import RefitHeads
from alservice.offline.training import TrainAlone
from alservice.process import Progress
from alservice.progress import NoProgress
from alservice.revision import code_revision
from alservice.science.tree import load_tree
from alservice.storage.run_folder import claim_folder
from alservice.telemetry import configure_logging

_ROUNDS: Final = "rounds"


@contextmanager
def open_backfill(asked: Backfill, out: Path, progress: Progress) -> Iterator[RoundFolder]:
    """Claim the folder and have the galaxies in it; the same backfill, also with other policies or seeds, goes on.

    Raises
    ------
    BadInput, BadVotes
        The data cannot be read, or too few galaxies can be asked about.
    Conflict
        The folder holds another backfill, or another process is at work in it.
    """
    with claim_folder(out, asked.document()) as folder:
        keep_galaxies(asked, folder, progress)
        if asked.encoder is not None:
            keep_embeddings(out, folder, asked.encoder, asked.device)
        (out / _ROUNDS).mkdir(exist_ok=True)
        yield RoundFolder(out / _ROUNDS)


def begin_worker() -> None:
    """Prepare a process that runs backfills: logs as everywhere else."""
    configure_logging()


def run_backfill(asked: Backfill, out: Path, policy: str, seed: int) -> int:
    """Do all rounds of a policy and a seed, or of ``initial`` the first of a seed; return how many there are."""
    use_threads(asked.training.threads)
    replay = open_replay(asked, out)
    if policy == INITIAL:
        replay.initial(seed)
        return 1
    return len(replay.run(policy, seed))


def open_replay(asked: Backfill, out: Path) -> Replay:
    """Return the runs of a backfill whose folder has its galaxies; processes share the images in memory."""
    target = target_of(load_tree(asked.tree), asked.plan.question)
    galaxies, tests = read_galaxies(out, target)
    return Replay(
        target=target,
        plan=asked.plan,
        pool=galaxies.only(~tests),
        test=galaxies.only(tests),
        training=asked.training,
        gate=GatePolicy(),
        learner=_learner(asked, out, target, galaxies.galaxy_ids),
        rounds=RoundFolder(out / _ROUNDS),
    )


def _learner(asked: Backfill, out: Path, target: Target, galaxy_ids: Sequence[str]) -> Learner:
    device, revision = resolve_device(asked.device), code_revision()
    if asked.encoder is None:
        return TrainAlone(tree=target.tree, device=device, code_revision=revision, progress=NoProgress())
    encoder, digest = load_model(asked.encoder, device="cpu")
    return RefitHeads(
        tree=target.tree,
        device=device,
        code_revision=revision,
        encoder=encoder,
        digest=digest,
        embeddings=dict(zip(galaxy_ids, read_embeddings(out), strict=True)),
    )


def rounds_of(asked: Backfill, folder: RoundFolder) -> Sequence[tuple[str, Sequence[Sequence[Round]]]]:
    """Return the rounds of every policy, seed by seed; each begins with its seed's first round."""
    initial = [_done(folder, INITIAL, seed, 0) for seed in range(asked.seeds)]
    return [
        (
            policy,
            [
                [initial[seed], *(_done(folder, policy, seed, n) for n in range(1, asked.plan.rounds + 1))]
                for seed in range(asked.seeds)
            ],
        )
        for policy in asked.policies
    ]


def _done(folder: RoundFolder, policy: str, seed: int, number: int) -> Round:
    found = folder.get(policy, seed, number)
    if found is None:
        raise BadConfig(f"round {number} of {policy}, seed {seed}, is not done yet: run the backfill again")
    return found

"""Several networks for one posterior: trained alike but for the seed, each with a trunk of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alservice.network.config import FitConfig
from alservice.offline.commands import Trained, train_on_file
from alservice.offline.model_files import ENSEMBLE
from alservice.process import Progress
from alservice.science.tree import Tree
from alservice.storage.run_folder import claim_folder


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
) -> tuple[Trained, ...]:
    """Train networks one after the other, each as `train_on_file` does and in a folder of its own inside `out`.

    Member n has the seed of the configuration plus n. All hold out the same galaxies. The folder is complete once it
    has the list of its members.

    Raises
    ------
    Conflict
        The folder holds an ensemble of another size, or anything else.
    BadInput, BadVotes, BadConfig, BadTree
        As `train_on_file`.
    """
    with claim_folder(out, {"command": "train ensemble", "members": members}) as folder:
        trained = {}
        for number in range(members):
            name = f"member-{number}"
            trained[name] = train_on_file(
                data,
                out / name,
                tree=tree,
                config=_reseeded(config, number),
                galaxies=galaxies,
                device=device,
                progress=progress,
            )
        digests = {name: member.card["weights"] for name, member in trained.items()}
        folder.write(ENSEMBLE, json.dumps(digests, indent=1).encode())
    return tuple(trained.values())


def _reseeded(config: Callable[[int], FitConfig], number: int) -> Callable[[int], FitConfig]:
    def reseeded(n_rows: int) -> FitConfig:
        plain = config(n_rows)
        return replace(plain, seed=plain.seed + number)

    return reseeded

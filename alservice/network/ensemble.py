"""Several networks as one posterior: the draws are shared out over them, each with a trunk of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alservice.errors import BadConfig
from alservice.ids import seed_of
from alservice.network.architectures import Network
from alservice.network.sampling import sample_posterior
from alservice.shapes import FloatArray, UInt8Array


def sample_ensemble(
    members: Sequence[Network],
    images: UInt8Array,
    *,
    draws: int,
    seed: int,
    device: str,
    views: int = 8,
    precision: str = "auto",
) -> tuple[FloatArray, FloatArray]:
    """Return posterior draws of an ensemble, and the embeddings of its first member.

    Draw t is one function of one member, the (t mod M)-th: the ensemble costs M trunks, and no more heads than one
    network. Of one member the result is that of `sample_posterior`.

    Parameters
    ----------
    members
        M networks for one tree and one kind of images, on `device`; trained from different seeds, or they are one.
    draws
        T, at least M.

    Returns
    -------
    tuple
        Concentrations (N, T, A) float32 and embeddings (N, E) float16; those of other members stand on other axes.

    Raises
    ------
    BadConfig
        There are no members or more than draws, or they are of different trees.
    BadImage, NumericalFault
        As `sample_posterior`.
    """
    if not 1 <= len(members) <= draws:
        raise BadConfig(f"an ensemble needs at least one member and a draw for each: {len(members)} for {draws} draws")
    if len({member.tree.hash for member in members}) > 1:
        raise BadConfig("the members of an ensemble must answer the questions of one tree")
    concentrations = np.empty((len(images), draws, members[0].tree.n_answers), dtype=np.float32)
    embeddings = []
    for number, member in enumerate(members):
        turns = range(number, draws, len(members))
        concentrations[:, turns], embedded = sample_posterior(
            member,
            images,
            draws=len(turns),
            seed=seed_of(seed, "member", number) if number else seed,
            device=device,
            views=views,
            precision=precision,
        )
        embeddings.append(embedded)
    return concentrations, embeddings[0]

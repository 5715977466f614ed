"""A network whose trunk is another's and whose heads are draws of a Laplace posterior: fitted in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from alservice.ids import seed_of
from alservice.network.architectures import Network, build_network
from alservice.network.config import resolve_precision
from alservice.network.sampling import Embedder
from alservice.network.training import held_out
from alservice.science.laplace import Features, LaplaceHead, Prior, choose_prior, fit_head, mixture_nll
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray, UInt8Array

LAPLACE_DRAWS: Final = 200
"""Heads that a network keeps of the posterior: the most draws that can be asked of it."""

COMPONENTS: Final = 64
"""Principal components of the embeddings that a head sees."""

_VIEWS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedHead:
    """A network with a Laplace head and what it makes of the galaxies held out.

    Parameters
    ----------
    train, hold_out
        NLL (nats per galaxy) of the votes of galaxies that were trained on, and of those held out, by the head that
        the priors were chosen with.
    """

    network: Network
    priors: tuple[Prior, ...]
    train: float
    hold_out: float


def embedded(network: Network, images: UInt8Array, *, precision: str, device: str) -> FloatArray:
    """Return embeddings (N, E) float32 of images (N, C, H, W), averaged over all eight views as predictions are."""
    embed = Embedder(network.eval(), views=_VIEWS, dtype=resolve_precision(precision, device))
    found: FloatArray = embed(torch.from_numpy(images)).cpu().numpy()
    return found


def fit_laplace(
    encoder: Network,
    tree: Tree,
    embeddings: FloatArray,
    counts: IntArray,
    keys: tuple[str, ...],
    *,
    hold_out: float,
    seed: int,
    draws: int = LAPLACE_DRAWS,
) -> FittedHead:
    """Fit the questions of a tree on embeddings of a frozen encoder.

    Priors are chosen by the galaxies held out, then the head learns from all. Each of its draws becomes a linear head
    of the network, so that whatever predicts with networks predicts with it.

    Parameters
    ----------
    encoder
        Whose trunk the network gets; of any tree.
    embeddings, counts
        (N, E) by that trunk, and (N, A) votes.
    keys
        What the galaxies are called: who is held out.
    draws
        K, the heads that are kept.

    Raises
    ------
    BadInput, BadVotes, NumericalFault
        As `fit_question` and `Features.of`.
    """
    features = Features.of(embeddings, most=COMPONENTS)
    x, held = features(embeddings), held_out(keys, hold_out)
    priors = tuple(
        choose_prior(x, counts[:, answers], held, seed=seed_of(seed, "prior", place))
        for place, answers in enumerate(tree.slices)
    )
    judged = fit_head(tree, x[~held], counts[~held], priors)
    head = fit_head(tree, x, counts, priors, before=judged)
    config = replace(encoder.config, head="laplace", heads=draws, dropout=0.0)
    network = build_network(config, tree, seed=seed)
    network.trunk.load_state_dict({name: tensor.cpu() for name, tensor in encoder.trunk.state_dict().items()})
    _set_heads(network, features, head, draws, seed)
    return FittedHead(
        network=network.eval(),
        priors=priors,
        train=_nll(judged, x[~held], counts[~held], seed),
        hold_out=_nll(judged, x[held], counts[held], seed),
    )


@torch.no_grad()
def _set_heads(network: Network, features: Features, head: LaplaceHead, draws: int, seed: int) -> None:
    """Make each draw of the weights a head; the precision of votes is the constant of its question."""
    matrices, constants = features.on_embeddings(head.weights(draws=draws, seed=seed_of(seed, "laplace")))
    n_answers, spreads = head.tree.n_answers, [_spread(q.prior.precision) for q in head.questions]
    weight, bias = network.heads.weights[0], network.heads.biases[0]
    weight.zero_()
    weight[..., :n_answers] = _float32(matrices)
    bias[:, 0, :n_answers] = _float32(constants)
    bias[:, 0, n_answers:] = torch.tensor(spreads)
    network.temperature.fill_(1)


def _spread(precision: float) -> float:
    """Return the output of a head that stands for a precision (`log_precision_of`)."""
    root = math.sqrt(precision)
    return root + math.log(-math.expm1(-root))


def _float32(values: FloatArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _nll(head: LaplaceHead, features: FloatArray, counts: IntArray, seed: int) -> float:
    """Return nats per galaxy, summed over questions."""
    drawn = head.concentrations(features, draws=30, seed=seed_of(seed, "laplace"))
    nats = [mixture_nll(drawn[..., answers], counts[:, answers].astype(np.float64)) for answers in head.tree.slices]
    return sum(nats) / max(1, len(counts))

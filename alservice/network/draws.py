"""Posterior draws made of embeddings: the heads alone, in blocks that give the same bits whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from alservice.errors import BadConfig, BadInput, NumericalFault
from alservice.network.architectures import Network
from alservice.network.memory import on_device
from alservice.shapes import BoolArray, FloatArray

BLOCK: Final = 256
"""Embeddings per pass through the heads, the last ones filled up with zeros.

Products of matrices round alike only at one size: draws are made by whole blocks, counted from the first row of a
shard, so that a part of a shard has the bits of the whole.
"""

_FOLDED_BYTES: Final = 2**28
"""Most memory for weights that the masks of every draw are multiplied into; larger heads multiply the inputs."""


class Moments(NamedTuple):
    """Mean and standard deviation of every answer's fraction among those asked: float32 (N, A), in tree order.

    Of the whole mixture: the width of each draw's Dirichlet and the variance between draws.
    """

    mean: FloatArray
    sd: FloatArray


class HeadSampler:
    """T draws of a network's heads: a function of the embedding alone, the same for every galaxy.

    It computes on the CPU whatever device the network is on: a page, an estimate and the run that predicted then agree
    to the bit, on processors of one kind and with one release of torch. Others agree within 1e-4.

    Parameters
    ----------
    network
        Trained; its weights are copied.
    draws, seed
        T, and what their masks follow from.

    Raises
    ------
    BadConfig
        There is no draw to make, or a Laplace head has fewer.
    """

    def __init__(self, network: Network, *, draws: int, seed: int) -> None:
        if draws < 1:
            raise BadConfig(f"a posterior needs draws >= 1: {draws}")
        if network.config.head == "laplace" and draws > network.config.heads:
            raise BadConfig(f"a Laplace head of {network.config.heads} draws has no {draws}", draws=draws)
        self.tree = network.tree
        self.n_draws = draws
        self.embedding = int(network.heads.weights[0].shape[1])
        self._slices = network.tree.slices
        self._owner = torch.tensor(network.tree.question_of_answer)
        with torch.inference_mode():
            masks = network.heads.posterior_masks(draws, seed=seed)
            head = masks.head.cpu()
            weights = [weight.detach().cpu() for weight in network.heads.weights]
            biases = [bias.detach().cpu() for bias in network.heads.biases]
            self._tau = network.temperature.detach().cpu().clone()[:, None]
            size = 4 * draws * max(weight[0].numel() for weight in weights)
            self._plain = network.is_point_estimate or network.heads.pieces > 1 or size > _FOLDED_BYTES
            if self._plain:
                self._network, self._masks = network, masks
                return
            keep = [kept.cpu().squeeze(1).unsqueeze(-1) for kept in masks.keep]
            # (T, outputs, inputs): answers by galaxies, so that what follows reads whole rows.
            self._weights = [(w[head] * k).transpose(1, 2).contiguous() for w, k in zip(weights, keep, strict=True)]
            self._biases = [b[head].transpose(1, 2).contiguous() for b in biases]

    @on_device()
    def draws(self, embeddings: FloatArray, rows: BoolArray | None = None) -> FloatArray:
        """Return concentrations (N, T, A) float32, temperature included, of the embeddings (N, E) float16 of a shard.

        Parameters
        ----------
        rows
            (N,) which of them are wanted, all where None: only blocks that hold one are computed, and only wanted rows
            are returned.

        Raises
        ------
        BadInput
            The embeddings are not float16 (N, E) of this network.
        NumericalFault
            A concentration is not finite; the first row is named.
        """
        wanted = np.ones(len(embeddings), dtype=bool) if rows is None else rows
        found = np.empty((int(wanted.sum()), self.n_draws, self.tree.n_answers), dtype=np.float32)
        done = 0
        for block, shares, precision in self._blocks(embeddings, wanted):
            chosen = wanted[block]
            alpha = self._concentrations(shares, precision).permute(2, 0, 1)[: len(chosen)]
            part = slice(done, done + int(chosen.sum()))
            found[part] = alpha.numpy()[chosen]
            done = part.stop
        check_finite("concentrations", found)
        return found

    @on_device()
    def moments(self, embeddings: FloatArray) -> Moments:
        """Return what `draws` makes of embeddings (N, E) float16 in sum; raises what it raises."""
        moments = self._room(len(embeddings))
        for block, shares, precision in self._blocks(embeddings, np.ones(len(embeddings), dtype=bool)):
            self._summarise(block, shares, precision, moments)
        return _checked(moments)

    @on_device()
    def both(self, embeddings: FloatArray) -> tuple[FloatArray, Moments]:
        """Return `draws` and `moments` in one pass."""
        found = np.empty((len(embeddings), self.n_draws, self.tree.n_answers), dtype=np.float32)
        moments = self._room(len(embeddings))
        for block, shares, precision in self._blocks(embeddings, np.ones(len(embeddings), dtype=bool)):
            alpha = self._concentrations(shares, precision).permute(2, 0, 1)
            found[block] = alpha[: len(found[block])].numpy()
            self._summarise(block, shares, precision, moments)
        check_finite("concentrations", found)
        return found, _checked(moments)

    def _room(self, n: int) -> Moments:
        shape = (n, self.tree.n_answers)
        return Moments(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))

    @torch.inference_mode()
    def _blocks(self, embeddings: FloatArray, wanted: BoolArray) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield the rows of each block with a wanted one, shares (T, A, 256) and precisions (T, Q, 256)."""
        if embeddings.dtype != np.float16 or embeddings.ndim != 2 or embeddings.shape[1] != self.embedding:
            raise BadInput(
                f"embeddings must be float16 (N, {self.embedding}), not {embeddings.dtype} {embeddings.shape}"
            )
        check_finite("embeddings", embeddings)
        for start in range(0, len(embeddings), BLOCK):
            rows = slice(start, min(start + BLOCK, len(embeddings)))
            if not wanted[rows].any():
                continue
            x = torch.zeros(BLOCK, self.embedding)
            x[: rows.stop - start] = torch.from_numpy(embeddings[rows].astype(np.float32))
            yield rows, *self._sampled(x)

    def _sampled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._plain:
            return self._parted(self._network.draw(x.to(self._network.temperature.device), self._masks).cpu())
        y = x.T.contiguous()
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            if layer:
                y = torch.baddbmm(bias, weight, y.relu_())
            else:  # one product for all draws, whose inputs are the same
                y = torch.addmm(bias.flatten(0, 1), weight.flatten(0, 1), y).view(self.n_draws, -1, BLOCK)
        n_answers = self.tree.n_answers
        shares, spreads = y[:, :n_answers], y[:, n_answers:]
        for answers in self._slices:
            torch.softmax(shares[:, answers], dim=1, out=shares[:, answers])
        return shares, nn.functional.softplus(spreads).square_().mul_(self._tau)

    def _parted(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return shares (T, A, B) and precisions (T, Q, B) of concentrations (B, T, A)."""
        turned = alpha.permute(1, 2, 0)
        precision = torch.stack([turned[:, answers].sum(1) for answers in self._slices], dim=1)
        return turned / precision[:, self._owner], precision

    def _concentrations(self, shares: Tensor, precision: Tensor) -> Tensor:
        # The smallest normal float32 keeps logarithms finite where a share underflows.
        return (shares * precision[:, self._owner]).add_(torch.finfo(torch.float32).tiny)

    def _summarise(self, rows: slice, shares: Tensor, precision: Tensor, moments: Moments) -> None:
        mean = shares.mean(0)
        between = (shares - mean).square_().mean(0)
        within = shares.sub(shares.square()).div_((precision + 1)[:, self._owner]).mean(0)
        n = rows.stop - rows.start
        moments.mean[rows] = mean.T[:n].numpy()
        moments.sd[rows] = between.add_(within).clamp_(min=0).sqrt_().T[:n].numpy()


def _checked(moments: Moments) -> Moments:
    for values in moments:
        check_finite("concentrations", values)
    return moments


def check_finite(what: str, values: FloatArray) -> None:
    """Raise `NumericalFault` that names the first row of values (N, ...) with one that is not finite."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(bad):
        raise NumericalFault(f"posterior: the {what} of row {bad[0]} are not finite", row=int(bad[0]))

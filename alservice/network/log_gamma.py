"""Differences of log-gamma and their slopes in a handful of plain operations, faster than `torch.lgamma` itself.

Stirling's series about the midpoint, after a shift by four that makes it converge: with m = a + 7/2, and R the product
of (a + k + j) / (a + j) over j = 0..3,

    ln G(a + k) - ln G(a) = m ln(1 + k / m) - k + k ln(m + k) + s(m + k) - s(m) - ln R

The first part grows with k ln a, and likelihoods are small differences of it: it is float64. The rest is of order one
for any a: it has the dtype asked for. The series, in Bernoulli polynomials at 1/2 (DLMF 5.11.8), are summed as
continued fractions in q = m^2: two levels leave out 3e-9, where two terms leave out 1e-6.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_LEADING: Final = 1 / 24
_VALUE: Final = (
    (0.058333333333333333, 0.015049603174603175),
    (0.81196989672599429, 0.55968826340862079),
    (2.5617727218235684, 3.5102500763066472),
    (5.3118054064452589, 0.0),
)
_SLOPE: Final = (
    (0.175, 0.061636904761904762),
    (1.1727788507967166, 0.98945411340456352),
    (3.1721367677864004, 5.0351536514405860),
    (6.1718006617202977, 0.0),
)
"""s(m) = -m / 24 / (q + b0 - a0 / (q + b1 - a1 / ...)) and its like for digamma: pairs (b, a)."""

_LEVELS: Final = {torch.float32: 2, torch.float64: 4}
"""What is left out of the value from m = 3.5 on: 3e-9 and 2e-12; of the slope twice that."""

_FAR: Final = 1e18
"""From here on the parts of order one do not change over k; products of two stay finite in float32."""

_CHUNK: Final = 20_000
"""Values worked on at a time by each thread of a CPU: intermediate results stay in its cache."""

_DENSE: Final = 0.4
"""Share of counts above zero from which picking them out costs more than it saves."""

_LARGEST_TABLE: Final = 100_000
"""Counts up to which factorials are looked up."""


def log_rising(a: Tensor, k: Tensor, *, dtype: torch.dtype, slope: bool) -> tuple[Tensor, Tensor]:
    """Return ln G(a + k) - ln G(a), and its derivative by a.

    Parameters
    ----------
    a, k
        Of one shape, contiguous, float64: a positive, k not negative, whole or not.
    dtype
        float32 for an absolute error of about 1e-6 in the value beside a relative one of 1e-15, float64 for 1e-11.
    slope
        Whether the derivative is wanted; without it an empty tensor is in its place.

    Returns
    -------
    tuple
        float64 value, and derivative of the dtype asked for, both of the shape of a.
    """
    value = torch.zeros_like(a)
    slopes = torch.zeros_like(a, dtype=dtype) if slope else value.new_empty(0, dtype=dtype)
    flat = [x.view(-1) for x in (a, k, value, slopes)]
    if a.device.type != "cpu":
        _rise(*flat)
        return value, slopes
    # In a tree of several campaigns a galaxy has votes of one. (A GPU would have to wait for the number.)
    if int(torch.count_nonzero(k)) > _DENSE * k.numel():
        _rise_in_chunks(flat)
        return value, slopes
    counted = (flat[1] > 0).nonzero().squeeze(1)
    few = [x.index_select(0, counted) if len(x) else x for x in flat]
    _rise_in_chunks(few)
    for all_of_them, some in zip(flat[2:], few[2:], strict=True):
        if len(some):
            all_of_them.index_copy_(0, counted, some)
    return value, slopes


def _rise_in_chunks(flat: list[Tensor]) -> None:
    size = _CHUNK * torch.get_num_threads()
    for start in range(0, len(flat[0]), size):
        _rise(*(x[start : start + size] for x in flat))


def _rise(a: Tensor, k: Tensor, value: Tensor, slope: Tensor) -> None:
    """Write the value of a chunk and, where there is room, its slope."""
    m = a + 3.5
    log_ratio = (k / m).log1p_()
    torch.mul(m, log_ratio, out=value).sub_(k).addcmul_(k, m.add_(k).log_())
    # Both ends as one tensor (2, n), a and a + k: half as many calls.
    x = torch.empty(2, len(a), dtype=slope.dtype, device=a.device)
    torch.add(a, k, out=x[1])
    x[0].copy_(a)
    m = x.clamp_(max=_FAR) + 3.5
    q = m * m
    series = _fraction(_VALUE, q).mul_(m)
    u = (x + 3).mul_(x)
    v = u + 2
    # By square roots: the ratio itself, from the smallest a to the largest k, does not fit float32.
    root = torch.sqrt(u).mul_(torch.sqrt(v))
    value.add_(series[0].sub_(series[1]), alpha=_LEADING).sub_((root[1] / root[0]).log_(), alpha=2)
    if len(slope):
        inverse = u.reciprocal_().add_(v.reciprocal_())
        tail = _fraction(_SLOPE, q).mul_(_LEADING).addcmul_(inverse, m.sub_(2), value=-2)
        slope.copy_(log_ratio).add_(tail[1]).sub_(tail[0])


def _fraction(levels: tuple[tuple[float, float], ...], q: Tensor) -> Tensor:
    """Return 1 / (q + b0 - a0 / (q + b1 - ...)), to as many levels as its dtype can tell."""
    *outer, (b, _) = levels[: _LEVELS[q.dtype]]
    total = (q + b).reciprocal_()
    for b, a in reversed(outer):
        torch.add(q, total, alpha=-a, out=total).add_(b).reciprocal_()
    return total


class LogFactorials:
    """ln k! of counts: looked up where all are whole, else log-gamma of k + 1.

    Parameters
    ----------
    counts
        (..., A) not negative; sums over the last axis are looked up too.
    """

    def __init__(self, counts: Tensor) -> None:
        largest = counts.sum(-1).max().item() if counts.numel() else 0
        is_table = largest <= _LARGEST_TABLE and torch.equal(counts, counts.floor())
        ends = torch.arange(int(largest) + 1 if is_table else 0, dtype=torch.float64, device=counts.device)
        self._table = torch.lgamma(ends + 1)

    def of(self, k: Tensor) -> Tensor:
        """Return ln k! of float64 counts, of their shape."""
        if not len(self._table):
            return torch.lgamma(k + 1)
        return self._table.index_select(0, k.long().view(-1)).view(k.shape)

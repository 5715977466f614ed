"""Heads: what dropout masks switch, and that draws are functions."""

import pytest
import torch

from alservice.errors import BadConfig
from alservice.network.architectures import Heads


def make_heads(*, dropout=0.5, members=3, widths=(6, 8, 4)):
    """Return fresh heads, of six inputs and four outputs unless told otherwise."""
    heads = Heads(widths=widths, members=members, dropout=dropout)
    heads.reset(torch.Generator().manual_seed(0))
    return heads


def test_a_draw_is_the_same_function_for_every_galaxy():
    """Consistent masks: each galaxy's draws are the same alone, in a batch, and among others."""
    heads, embeddings = make_heads(), torch.randn(7, 6)
    masks = heads.posterior_masks(5, seed=1)
    together = heads(embeddings, masks)
    alone = torch.cat([heads(row[None], masks) for row in embeddings], dim=1)
    torch.testing.assert_close(together, alone)
    assert all(keep.shape[:2] == (5, 1) for keep in masks.keep)


def test_the_seed_alone_decides_the_masks():
    """The same seed gives the same draws whatever ran before; another seed gives others."""
    heads, embeddings = make_heads(), torch.randn(2, 6)
    first = heads(embeddings, heads.posterior_masks(4, seed=1))
    torch.rand(3)
    assert torch.equal(first, heads(embeddings, heads.posterior_masks(4, seed=1)))
    assert not torch.equal(first, heads(embeddings, heads.posterior_masks(4, seed=2)))


def test_draws_of_one_head_differ_by_dropout():
    """With dropout two draws through the same head differ; without, only heads do."""
    embeddings = torch.randn(2, 6)
    draws = make_heads(dropout=0.5)(embeddings, make_heads(dropout=0.5).posterior_masks(6, seed=0))
    assert not torch.equal(draws[0], draws[3])
    plain = make_heads(dropout=0.0)
    draws = plain(embeddings, plain.posterior_masks(6, seed=0))
    torch.testing.assert_close(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[1])


def test_draws_are_spread_evenly_over_heads():
    """Draw t goes through head t modulo K."""
    assert make_heads().posterior_masks(7, seed=0).head.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_training_masks_are_each_galaxys_own():
    """In training every galaxy has its own masks in every head, at every layer."""
    masks = make_heads().training_masks(16, seed=0)
    assert [keep.shape for keep in masks.keep] == [(3, 16, 6), (3, 16, 8)]
    assert len({tuple(row.tolist()) for row in masks.keep[1][0]}) > 1
    assert not torch.equal(masks.keep[1][0], masks.keep[1][1])


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_masks_keep_the_expected_input(dropout):
    """A unit is on with probability 1 - p and then scaled by 1 / (1 - p)."""
    keep = make_heads(dropout=dropout, widths=(200, 4)).training_masks(200, seed=0).keep[0]
    assert keep.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropout)])
    assert keep.mean().item() == pytest.approx(1, abs=0.02)


def test_a_dropped_input_does_not_matter():
    """What a mask switches off cannot change the output; what it leaves on can."""
    heads = make_heads(widths=(6, 4))
    masks = heads.posterior_masks(1, seed=3)
    off = masks.keep[0][0, 0] == 0
    embedding = torch.randn(1, 6)
    assert 0 < off.sum() < 6
    torch.testing.assert_close(heads(embedding, masks), heads(embedding + 9 * off, masks))
    assert not torch.allclose(heads(embedding, masks), heads(embedding + 9 * ~off, masks))


@pytest.mark.parametrize(("members", "dropout"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_impossible_heads_are_refused(members, dropout):
    """No heads, or dropout of everything, is a configuration error."""
    with pytest.raises(BadConfig):
        make_heads(members=members, dropout=dropout)


def test_maxout_units_take_the_largest_of_their_pieces():
    """With two pieces a hidden unit is the larger of two linear maps, of either sign; outputs are linear."""
    heads = Heads(widths=(3, 4, 2), members=1, dropout=0.0, pieces=2)
    heads.reset(torch.Generator().manual_seed(0))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pieces = (x @ heads.weights[0][0]).view(5, 4, 2)
        expected = torch.maximum(pieces[..., 0], pieces[..., 1]) @ heads.weights[1][0]
        torch.testing.assert_close(heads(x, heads.posterior_masks(1, seed=0))[0], expected)
    assert (torch.maximum(pieces[..., 0], pieces[..., 1]) < 0).any()

"""Steps of equal size in all directions."""

import pytest
import torch

from alservice.network.training import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (64, 4, 1, 1), (16, 16, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_become_about_one(shape, dtype):
    """Wide, tall and square matrices whose directions differ a hundredfold, at any scale and in both precisions."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator).flatten(1)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    weights = 1e-3 * (left * torch.logspace(0, -2, left.shape[1])) @ right
    found = orthogonal(weights.view(shape), dtype=dtype)
    assert found.shape == shape
    assert found.dtype == torch.float32
    values = torch.linalg.svdvals(found.flatten(1))
    assert 0.4 < values.min() <= values.max() < 1.3
    assert (left.T @ found.flatten(1) @ right.T).diagonal().min() > 0.4


def test_a_step_has_its_size_and_decays():
    """The root mean square of a step is that of the learning rate times 0.6; weights without gradient stay."""
    weights = [torch.ones(16, 16, 1, 1, requires_grad=True), torch.ones(4, 4, 1, 1, requires_grad=True)]
    muon = Muon(weights, weight_decay=0.5, dtype=torch.float32)
    weights[0].grad = torch.randn(16, 16, 1, 1, generator=torch.Generator().manual_seed(1))
    muon.step(0.01)
    step = weights[0].detach() - (1 - 0.005)
    assert step.square().mean().sqrt().item() == pytest.approx(0.006, rel=0.25)
    assert (step * weights[0].grad).sum() < 0
    assert (weights[1] == 1).all()


def test_momentum_carries_on():
    """A direction that was pushed before is still moved along when the gradient turns away."""
    weight = torch.zeros(4, 4, 1, 1, requires_grad=True)
    muon = Muon([weight], weight_decay=0.0, dtype=torch.float32)
    for _ in range(20):
        weight.grad = torch.eye(4)[:, :, None, None]
        muon.step(0.01)
    before = weight.detach().diagonal().min().item()
    weight.grad = torch.zeros(4, 4, 1, 1)
    muon.step(0.01)
    assert weight.detach().diagonal().min().item() < before

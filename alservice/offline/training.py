"""Train networks on galaxies in memory, load their files, and evaluate them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alservice.catalogue.vote_columns import cumulative_from_conditional
from alservice.errors import BadConfig, BadInput, DigestMismatch, NotFound
from alservice.files import read_regular, sha256_of_file
from alservice.ids import digest_of_bytes, digest_of_document, seed_of
from alservice.network.architectures import Network, NetworkConfig, check_images, restored_network
from alservice.network.config import FitConfig, FitResult, resolve_device
from alservice.network.files import ModelCard, from_bytes, tensors_from_bytes, to_bytes
from alservice.network.laplace import embedded, fit_laplace
from alservice.network.pretrained import open_encoder
from alservice.network.ranks import ALONE, Ranks
from alservice.network.recalibration import recalibrated
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit, on_trunk_of, origin_of, refit_heads
from alservice.offline.galaxies import VotedGalaxies
from alservice.progress import Progress
from alservice.science.evaluation import Evaluation, evaluate
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.reweighting import survey_weights
from alservice.science.tree import Tree
from alservice.shapes import FloatArray

MODEL: Final = "model.safetensors"
"""Weights with their card, in a training folder."""

ENSEMBLE: Final = "ensemble.json"
"""Folders of the members of an ensemble and the digests of their weights."""

MAX_MODEL_BYTES: Final = 4 << 30
"""Largest file of weights that is read into memory: a billion parameters."""

MAX_LIST_BYTES: Final = 1 << 20


def load_model(model: Path, *, device: str, tree: Tree | None = None) -> tuple[Network, str]:
    """Return the network of a training folder, or of a file of weights, and the digest of its bytes.

    Parameters
    ----------
    tree
        The tree that it follows; None for its own, which it carries or, of a packaged one, names.

    Raises
    ------
    NotFound
        There is none.
    BadInput, BadTree, DigestMismatch
        It is no model, follows a tree of another release, or is damaged.
    """
    path = model / MODEL if model.is_dir() else model
    if not path.exists():
        raise NotFound(f"{model}: there is no model here ({MODEL} or {ENSEMBLE})", path=str(path))
    data = read_regular(path, max_bytes=MAX_MODEL_BYTES)
    document = tensors_from_bytes(data, what="a model")[1]
    tree = ModelCard.from_document(document).own_tree if tree is None else tree
    network, _, digest = restored_model(data, tree, device=resolve_device(device))
    return network, digest


def load_models(models: Sequence[Path], *, device: str, tree: Tree | None = None) -> tuple[tuple[Network, ...], str]:
    """Return all networks of folders and files, and one digest for them: of a single network its own.

    Parameters
    ----------
    tree
        As `load_model`.

    Raises
    ------
    BadConfig
        They answer the questions of different trees, or see different images.
    NotFound, BadInput, BadTree, DigestMismatch
        As `load_model`; also where a member of an ensemble is not the one that was trained with the others.
    """
    loaded = [pair for path in models for pair in _members(path, device=device, tree=tree)]
    networks, digests = tuple(network for network, _ in loaded), [digest for _, digest in loaded]
    seen = {(network.tree.hash, network.config.image_px, network.config.channels) for network in networks}
    if len(seen) > 1:
        raise BadConfig("models that predict together must have one tree, one image size and the same channels")
    return networks, digests[0] if len(digests) == 1 else digest_of_document(digests)


def _members(path: Path, *, device: str, tree: Tree | None) -> list[tuple[Network, str]]:
    listed = path / ENSEMBLE
    if not listed.exists():
        return [load_model(path, device=device, tree=tree)]
    members = []
    for name, expected in _listed(listed).items():
        network, digest = load_model(path / name, device=device, tree=tree)
        if digest != expected:
            raise DigestMismatch(f"{path / name} holds another model than {listed} says", path=str(path / name))
        members.append((network, digest))
    return members


def _listed(path: Path) -> dict[str, str]:
    """Return the folders of an ensemble's members, each beside its list, and the digests of their weights."""
    try:
        found: dict[str, str] = json.loads(read_regular(path, max_bytes=MAX_LIST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: is not JSON: {error}", path=str(path)) from error
    fits = isinstance(found, dict) and all(
        isinstance(digest, str) and Path(name).name == name and name not in {"", ".."} for name, digest in found.items()
    )
    if not fits or not found:
        raise BadInput(f"{path}: does not name the folders of an ensemble beside it and their digests", path=str(path))
    return found


class Encoder(NamedTuple):
    """A network on its device, whose trunk heads are fitted on or a network starts from, and the digest of its file."""

    network: Network
    digest: str


def read_encoder(model: Path, tree: Tree, config: NetworkConfig, *, device: str) -> Encoder:
    """Return the trunk of a training folder or of a file of weights, with fresh heads for a tree.

    Parameters
    ----------
    config
        Of the network, where the file is not one of ours; see `open_encoder`.

    Raises
    ------
    NotFound
        There is none.
    BadInput, BadConfig, DigestMismatch
        As `open_encoder`.
    """
    path = model / MODEL if model.is_dir() else model
    if not path.exists():
        raise NotFound(f"{model}: there is no model here ({MODEL})", path=str(path))
    return Encoder(open_encoder(path, tree, config).to(resolve_device(device)), sha256_of_file(path))


_CHUNK = 1024
"""Galaxies whose draws are made at a time."""


@dataclass(frozen=True, kw_only=True)
class RefitHeads:
    """Heads trained and sampled on one trunk, whose embeddings of all galaxies are known.

    Parameters
    ----------
    tree
        Questions of the new heads; the encoder may be of other ones.
    encoder, digest
        A model, and the digest of its bytes.
    embeddings
        Per galaxy id (E,) float32.
    """

    tree: Tree
    device: str
    code_revision: str
    encoder: Network
    digest: str
    embeddings: Mapping[str, FloatArray]

    def run(self, galaxies: VotedGalaxies, config: FitConfig) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes.

        Raises
        ------
        NotFound
            A galaxy has no embedding.
        NumericalFault
            As `refit_heads` does.
        """
        network = on_trunk_of(self.encoder, self.tree, seed=config.seed).to(self.device)
        votes = torch.from_numpy(galaxies.counts.astype(np.float32)).to(self.device)
        loss, held_out = refit_heads(network, self._embedded(galaxies), votes, galaxies.galaxy_ids, config)
        card = ModelCard.of(
            galaxies.tallies,
            config,
            self.tree,
            network=network.config,
            code_revision=self.code_revision,
            history=({"step": float(config.steps), "train": loss, "hold_out": held_out},),
            parent=self.digest,
        )
        state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
        return card, to_bytes(state, card)

    @torch.inference_mode()
    def draws(self, network: Network, galaxies: VotedGalaxies, n: int) -> FloatArray:
        """Return n posterior draws per galaxy (N, n, A) of a network on this trunk."""
        masks = network.heads.posterior_masks(n, seed=DRAWS_SEED)
        drawn = [network.draw(chunk, masks).cpu() for chunk in torch.split(self._embedded(galaxies), _CHUNK)]
        concentrations: FloatArray = torch.cat(drawn).numpy()
        return concentrations

    def _embedded(self, galaxies: VotedGalaxies) -> torch.Tensor:
        try:
            rows = np.stack([self.embeddings[galaxy_id] for galaxy_id in galaxies.galaxy_ids])
        except KeyError as error:
            raise NotFound(f"galaxy {error.args[0]} has no embedding") from error
        return torch.from_numpy(rows).to(self.device)


@dataclass(frozen=True, kw_only=True)
class FitLaplace:
    """A Laplace head fitted on the frozen trunk of an encoder: seconds beyond the embedding.

    Parameters
    ----------
    tree
        Questions of the head; the encoder may be of other ones.
    encoder, digest
        A network on its device, and the digest of its bytes.
    """

    tree: Tree
    device: str
    code_revision: str
    encoder: Network
    digest: str
    progress: Progress

    def run(self, galaxies: VotedGalaxies, config: FitConfig) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes; of the configuration hold-out, precision and seed matter.

        Raises
        ------
        BadImage, BadInput, BadVotes, NumericalFault
            As `embedded` and `fit_laplace`.
        """
        check_images(galaxies.images, self.encoder.config)
        self.progress.start(f"embed {len(galaxies.galaxy_ids)} galaxies", len(galaxies.galaxy_ids))
        chunks = []
        for start in range(0, len(galaxies.images), _CHUNK):
            images = galaxies.images[start : start + _CHUNK]
            chunks.append(embedded(self.encoder, images, precision=config.precision, device=self.device))
            self.progress.advance(len(images))
        self.progress.finish()
        fitted = fit_laplace(
            self.encoder,
            self.tree,
            np.concatenate(chunks),
            galaxies.counts,
            galaxies.galaxy_ids,
            hold_out=config.hold_out,
            seed=config.seed,
            draws=config.network.heads,
        )
        card = ModelCard.of(
            galaxies.tallies,
            config,
            self.tree,
            network=fitted.network.config,
            code_revision=self.code_revision,
            history=({"step": float(config.steps), "train": fitted.train, "hold_out": fitted.hold_out},),
            parent=self.digest,
        )
        return card, to_bytes(fitted.network.state_dict(), card)


DRAWS_SEED = 0
"""Seed of the posterior draws: fixed, so that a model says the same of a galaxy whenever it is asked."""


@dataclass(frozen=True, kw_only=True)
class TrainNetwork:
    """Training of a whole network on galaxies in memory.

    Parameters
    ----------
    as_surveyed
        Whether galaxies count so that the training set has the composition of its unbiased part. If not, they count
        alike, and precision temperatures are those of the unbiased galaxies among the held-out.
    ranks
        Processes that train together, each with all galaxies; see `fit`.
    encoder
        Whose trunk training starts from, as `FitConfig.tuning` says; fresh weights without.
    """

    tree: Tree
    device: str
    code_revision: str
    progress: Progress
    as_surveyed: bool = False
    ranks: Ranks = ALONE
    encoder: Encoder | None = None

    def run(
        self,
        galaxies: VotedGalaxies,
        config: FitConfig,
        *,
        checkpoint: bytes | None = None,
        on_checkpoint: Callable[[bytes], None] | None = None,
        is_due: Callable[[int], bool] = lambda _step: False,
    ) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes; a checkpoint of the same run is gone on from.

        Checkpoints come as `fit` gives them: at every look at the hold-out, and where `is_due` says so.

        Raises
        ------
        BadVotes, BadImage, Conflict, DigestMismatch, NumericalFault, RankLost
            As `fit` does.
        """
        self.progress.start(f"train on {len(galaxies.galaxy_ids)} galaxies", config.steps)
        if checkpoint is not None:
            self.progress.advance(origin_of(checkpoint)[0])
        weights = survey_weights(self.tree, galaxies.counts, galaxies.unbiased) if self.as_surveyed else None
        result = fit(
            galaxies.images,
            galaxies.counts,
            self.tree,
            config,
            device=self.device,
            progress=self._say,
            initial=self._initial(config),
            weights=weights,
            checkpoint=checkpoint,
            on_checkpoint=on_checkpoint,
            is_due=is_due,
            ranks=self.ranks,
        )
        self.progress.finish()
        state = result.state if self.as_surveyed else self._recalibrated(result, galaxies, config)
        card = ModelCard.of(
            galaxies.tallies,
            config,
            self.tree,
            network=config.network,
            code_revision=self.code_revision,
            history=result.history,
            parent=None if self.encoder is None else self.encoder.digest,
        )
        return card, to_bytes(state, card)

    def _initial(self, config: FitConfig) -> Mapping[str, Tensor] | None:
        if self.encoder is None:
            return None
        return on_trunk_of(self.encoder.network, self.tree, seed=config.seed).state_dict()

    def _recalibrated(self, result: FitResult, galaxies: VotedGalaxies, config: FitConfig) -> Mapping[str, Tensor]:
        return recalibrated(
            result.state,
            galaxies.images,
            galaxies.counts,
            self.tree,
            config,
            fair=galaxies.unbiased,
            device=self.device,
        )

    def draws(self, network: Network, galaxies: VotedGalaxies, n: int) -> FloatArray:
        """Return n posterior draws per galaxy (N, n, A); raises what `sample_posterior` raises."""
        drawn, _ = sample_posterior(network, galaxies.images, draws=n, seed=DRAWS_SEED, device=self.device)
        return drawn

    def _say(self, loss: float) -> None:
        self.progress.advance()
        self.progress.note(f"NLL {loss:.2f} nats per galaxy")


def restored_model(data: bytes, tree: Tree, *, device: str) -> tuple[Network, ModelCard, str]:
    """Return the network on a device, its card and the digest of its bytes; raises what `from_bytes` raises."""
    state, card = from_bytes(data, tree=tree)
    network = restored_network(card.network, tree, state)
    return network.eval().to(device), card, digest_of_bytes(data)


def evaluate_network(
    network: Network,
    galaxies: VotedGalaxies,
    *,
    model: str,
    draws: int,
    device: str,
    seed: int = 0,
) -> tuple[Evaluation, Posterior]:
    """Return the evaluation of a network on galaxies with votes, and the posterior that it is of."""
    tree = network.tree
    concentrations, embeddings = sample_posterior(network, galaxies.images, draws=draws, seed=DRAWS_SEED, device=device)
    posterior = Posterior(
        galaxy_ids=galaxies.galaxy_ids,
        concentrations=concentrations,
        embeddings=embeddings,
        tree_hash=tree.hash,
        model=model,
    )
    # The mean over draws of the products down the tree: a draw answers all questions alike sure or unsure.
    shares = answer_probabilities(tree, concentrations.astype(np.float64))
    found = evaluate(
        tree,
        posterior,
        galaxies.counts,
        rng=np.random.default_rng(seed_of(seed, "evaluation")),
        fractions=galaxies.fractions,
        cumulative=cumulative_pair(tree, shares, galaxies.cumulative),
    )
    return found, posterior


def cumulative_pair(
    tree: Tree, shares: FloatArray, recorded: FloatArray | None
) -> tuple[FloatArray, FloatArray] | None:
    """Return predicted and recorded fractions as the Kaggle file has them, (N, A) each; None for other files.

    Parameters
    ----------
    shares
        (N, T, A) predicted shares among those asked, averaged after their products down the tree.
    recorded
        (N, A) cumulative ones as recorded, NaN where not recorded.
    """
    if recorded is None:
        return None
    return cumulative_from_conditional(tree, shares).mean(axis=1), recorded

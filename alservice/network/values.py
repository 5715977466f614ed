"""An encoder and a line from its embeddings to a number per galaxy, as one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from alservice.documents import BadDocument, document_of, record_of
from alservice.errors import BadConfig, BadInput
from alservice.network.architectures import Network, NetworkConfig, build_network
from alservice.network.files import tensors_from_bytes, tensors_to_bytes
from alservice.science.laplace import Features
from alservice.science.regression import LinearPosterior
from alservice.science.tree import Tree, load_tree
from alservice.shapes import FloatArray

KIND: Final = "values"
"""What files and cards of such models say that they are."""

_TRUNK: Final = "trunk."


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ValueModel:
    """An encoder, and the line from its embeddings to a number per galaxy.

    Parameters
    ----------
    target
        Column that it was learned from, and that predictions are named after.
    """

    target: str
    precision: str
    network: Network = field(repr=False)
    features: Features = field(repr=False)
    posterior: LinearPosterior = field(repr=False)

    def predict(self, embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (N,) each, in the target's unit, for embeddings (N, E)."""
        return self.posterior.predict(self.features(embeddings))

    def to_bytes(self) -> bytes:
        """Return trunk and line as one safetensors file, whose digest `of_bytes` checks."""
        tensors = {f"{_TRUNK}{name}": tensor for name, tensor in self.network.trunk.state_dict().items()}
        arrays = {
            "features.centre": self.features.centre,
            "features.directions": self.features.directions,
            "posterior.weights": self.posterior.weights,
            "posterior.covariance": self.posterior.covariance,
        }
        tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        about = {
            "kind": KIND,
            "target": self.target,
            "precision": self.precision,
            "network": document_of(self.network.config),
            **{name: getattr(self.posterior, name) for name in ("noise", "centre", "unit", "widening")},
        }
        return tensors_to_bytes(tensors, about)

    @classmethod
    def of_bytes(cls, data: bytes, *, device: str) -> ValueModel:
        """Return the model that `to_bytes` wrote, on a device; raises `BadInput` and `DigestMismatch`."""
        what = "a model of values"
        tensors, about = tensors_from_bytes(data, what=what)
        try:
            network = build_network(record_of(NetworkConfig, about["network"]), any_tree(), seed=0)
            network.trunk.load_state_dict(
                {name.removeprefix(_TRUNK): tensor for name, tensor in tensors.items() if name.startswith(_TRUNK)}
            )
            return cls(
                target=str(about["target"]),
                precision=str(about["precision"]),
                network=network.eval().to(device),
                features=Features(
                    centre=tensors["features.centre"].numpy(), directions=tensors["features.directions"].numpy()
                ),
                posterior=LinearPosterior(
                    weights=tensors["posterior.weights"].numpy(),
                    covariance=tensors["posterior.covariance"].numpy(),
                    **{name: float(about[name]) for name in ("noise", "centre", "unit", "widening")},
                ),
            )
        except (LookupError, TypeError, ValueError, RuntimeError, BadDocument, BadConfig) as error:
            raise BadInput(f"not {what}: {str(error).splitlines()[0]}") from error


def any_tree() -> Tree:
    """Return a tree for heads that nobody asks: a network has some."""
    return load_tree("gz2")


def arrays_to_bytes(arrays: Mapping[str, FloatArray], document: Mapping[str, Any]) -> bytes:
    """Return arrays and a JSON document as `tensors_to_bytes` does tensors."""
    return tensors_to_bytes(
        {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, document
    )


def arrays_from_bytes(data: bytes, *, what: str) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Return what `arrays_to_bytes` wrote; raises as `tensors_from_bytes`."""
    tensors, document = tensors_from_bytes(data, what=what)
    return {name: tensor.numpy() for name, tensor in tensors.items()}, document

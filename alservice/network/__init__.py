"""Networks: architectures, likelihoods, training and posterior draws; the only stage that is made of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.network.architectures import Network, NetworkConfig, build_network
    from alservice.network.config import FitConfig
    from alservice.network.files import ModelCard
    from alservice.network.sampling import sample_posterior
    from alservice.network.training import fit
else:
    __getattr__ = lazily(
        __name__,
        {
            "FitConfig": "alservice.network.config",
            "ModelCard": "alservice.network.files",
            "Network": "alservice.network.architectures",
            "NetworkConfig": "alservice.network.architectures",
            "build_network": "alservice.network.architectures",
            "fit": "alservice.network.training",
            "sample_posterior": "alservice.network.sampling",
        },
    )

__all__ = [
    "FitConfig",
    "ModelCard",
    "Network",
    "NetworkConfig",
    "build_network",
    "fit",
    "sample_posterior",
]

"""Operation: dashboard figures, metrics, tokens and operators' acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.ops.access import AccessService
    from alservice.ops.figures import CampaignFigures, IngestFigures
    from alservice.ops.metrics import Measures, expose
    from alservice.ops.service import OpsService
else:
    __getattr__ = lazily(
        __name__,
        {
            "AccessService": "alservice.ops.access",
            "CampaignFigures": "alservice.ops.figures",
            "IngestFigures": "alservice.ops.figures",
            "Measures": "alservice.ops.metrics",
            "OpsService": "alservice.ops.service",
            "expose": "alservice.ops.metrics",
        },
    )

__all__ = [
    "AccessService",
    "CampaignFigures",
    "IngestFigures",
    "Measures",
    "OpsService",
    "expose",
]

"""Kinds of parameters that flows share, with the title and help that Prefect's forms show."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CampaignName = Annotated[
    str,
    Field(
        title="Campaign",
        description="Name of the campaign, as given to `alservice campaign create`.",
        pattern="^[a-z0-9][a-z0-9-]*$",
        examples=["gz2"],
    ),
]
"""Which survey."""

LeaseToken = Annotated[
    str | None,
    Field(
        title="Lease",
        description="Filled in by the run that sends this step to another pool; leave it empty.",
    ),
]
"""Under whose lease a step runs that another run waits for."""

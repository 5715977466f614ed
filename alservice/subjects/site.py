"""Where a campaign's volunteers are: Zooniverse, or the work folder's stand-in; decided here and nowhere below."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from alservice.campaigns.campaign import Campaign, ZooniverseTarget
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.errors import BadConfig, Terminal
from alservice.retry import RetryPolicy
from alservice.settings import Settings
from alservice.standin.folder import STANDIN_USER, open_standin, standin_endpoint
from alservice.subjects.publish import PublishPolicy
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.client import PanoptesZooniverse
from alservice.zooniverse.endpoint import loopback_address
from alservice.zooniverse.http import Credentials, Timeouts

LIVE_SETTLE_S: Final = 10.0
"""Seconds between telling Zooniverse that subjects retire and looking whether they did."""


class EndpointNotAllowed(Terminal):
    """A campaign names a server that is neither Zooniverse's nor on this machine, and no setting allows it."""

    code = "endpoint-not-allowed"
    remedy = "Correct zooniverse.endpoint of the campaign, or set ALSERVICE_ZOONIVERSE_ENDPOINT to it."


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """How a campaign's Zooniverse is reached, and how patiently.

    Parameters
    ----------
    retry
        Of calls that may be repeated.
    publish
        How hard uploads are tried, and how many may be sent.
    settle_s
        Wait (s) between a retirement and the look at it.
    """

    endpoint: str
    credentials: Credentials
    retry: RetryPolicy
    publish: PublishPolicy
    settle_s: float


class Site(Protocol):
    """Where volunteers are; two kinds, which nobody who uses one tells apart."""

    def opened(self) -> AbstractContextManager[object]:
        """Have it at hand for as long as the block runs."""

    def connection(self) -> Connection:
        """Return how it is reached now; raises what is missing."""


@dataclass(frozen=True, kw_only=True)
class LiveSite:
    """Zooniverse, or another Panoptes, under the settings' login."""

    endpoint: str
    settings: Settings

    def opened(self) -> AbstractContextManager[object]:
        """Need nothing: it is there."""
        return nullcontext()

    def connection(self) -> Connection:
        """Return the connection; raises `BadConfig` without credentials."""
        return Connection(
            endpoint=self.endpoint,
            credentials=self._credentials(),
            retry=RetryPolicy(),
            publish=PublishPolicy(),
            settle_s=LIVE_SETTLE_S,
        )

    def _credentials(self) -> Credentials:
        s = self.settings
        if not (s.zooniverse_username or s.zooniverse_client_id):
            raise BadConfig(
                "no Zooniverse credentials: set ALSERVICE_ZOONIVERSE_USERNAME and _PASSWORD, or _CLIENT_ID and _SECRET"
            )
        return Credentials(
            username=s.zooniverse_username,
            password=s.zooniverse_password.get_secret_value() if s.zooniverse_password else None,
            client_id=s.zooniverse_client_id,
            client_secret=s.zooniverse_client_secret.get_secret_value() if s.zooniverse_client_secret else None,
        )


@dataclass(frozen=True, kw_only=True)
class LocalSite:
    """The work folder's stand-in: a request is over when its answer is, and nobody counts uploads."""

    folder: Path
    secret: Callable[[str], str]

    def opened(self) -> AbstractContextManager[object]:
        """Serve it, unless some process does."""
        return open_standin(self.folder, self._password())

    def connection(self) -> Connection:
        """Return the connection.

        Raises
        ------
        ZooniverseUnavailable
            Nobody serves it.
        RealSiteRefused
            Its address is not on this machine: somebody else wrote it.
        """
        endpoint = standin_endpoint(self.folder)
        loopback_address(endpoint)
        return Connection(
            endpoint=endpoint,
            credentials=Credentials(username=STANDIN_USER, password=self._password()),
            retry=RetryPolicy(first_s=0.1),
            publish=PublishPolicy(connections=8, settle_s=0.2, allowance=None),
            settle_s=0.2,
        )

    def _password(self) -> str:
        return self.secret("standin-password")


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The site of each campaign, and its client.

    Parameters
    ----------
    secret
        Returns a named secret of the work folder, made at first use.
    user_hash_key
        Returns the secret that turns user ids into pseudonyms.
    """

    campaigns: CampaignStore
    settings: Settings
    secret: Callable[[str], str]
    user_hash_key: Callable[[], bytes]

    @property
    def local(self) -> LocalSite:
        """The work folder's stand-in."""
        return LocalSite(folder=self.settings.folder / "standin", secret=self.secret)

    def of(self, campaign: Campaign) -> Site:
        """Return where a campaign's volunteers are; raises `EndpointNotAllowed`."""
        target = campaign.zooniverse
        self.check_allowed(target)
        return self.local if target.is_standin else LiveSite(endpoint=target.endpoint, settings=self.settings)

    def check_allowed(self, target: ZooniverseTarget) -> None:
        """Raise `EndpointNotAllowed` for a server that nobody here has allowed."""
        if target.needs_permission and target.endpoint != self.settings.zooniverse_endpoint:
            raise EndpointNotAllowed(f"no setting allows the endpoint {target.endpoint}", endpoint=target.endpoint)

    def save(self, campaign: Campaign) -> CampaignRow:
        """Save a campaign whose endpoint is allowed here; raises `EndpointNotAllowed`."""
        self.check_allowed(campaign.zooniverse)
        return self.campaigns.save(campaign)

    @contextmanager
    def opened(self, name: str) -> Iterator[None]:
        """Have a campaign's site at hand: a rehearsal's stand-in is started, Zooniverse is there."""
        with self.of(self.campaigns.get(name).settings).opened():
            yield

    def connection(self, campaign: Campaign) -> Connection:
        """Return how a campaign's site is reached; raises what `Site.connection` does, and `EndpointNotAllowed`."""
        return self.of(campaign).connection()

    def zooniverse(self, campaign: Campaign) -> Zooniverse:
        """Return the client of a campaign's site; raises what `connection` does."""
        connection = self.connection(campaign)
        return PanoptesZooniverse(
            endpoint=connection.endpoint,
            credentials=connection.credentials,
            project_id=campaign.zooniverse.project_id,
            workflow_id=campaign.zooniverse.workflow_id,
            user_hash_key=self.user_hash_key(),
            timeouts=Timeouts(),
            retry=connection.retry,
            sleep=time.sleep,
            chance=random.random,
        )

"""Settings of one process, read from environment variables with the prefix ``ALSERVICE_``."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from alservice.errors import BadConfig
from alservice.retry import Bounds

_OWN_WORDS = re.compile(r"^Value error, (\[[a-z-]+\] )?")
"""What pydantic and a typed error put before a sentence of ours, which the caller's own error says again."""


def explain(error: ValidationError, *, prefix: str = "") -> str:
    """Return what is wrong with each field, by name and without the value, which may be a secret."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    names = (".".join(str(part) for part in fault["loc"]) for fault in faults)
    shown = (f"{prefix}{name.upper()}" if prefix else name for name in names)
    reasons = (_OWN_WORDS.sub("", fault["msg"]) for fault in faults)
    return "; ".join(f"{name}: {reason}" if name else reason for name, reason in zip(shown, reasons, strict=True))


class Settings(BaseSettings):
    """Where the parts are: every default is the one-machine rehearsal, and production sets URLs."""

    model_config = SettingsConfigDict(env_prefix="ALSERVICE_", extra="ignore", frozen=True)

    workdir: Path = Field(
        default=Path("alservice-work"), description="Folder of everything that a one-machine run keeps."
    )
    database_url: SecretStr | None = Field(
        default=None, description="Postgres 14 or newer; unset starts the embedded one in the work folder."
    )
    object_store: str | None = Field(
        default=None,
        description="A folder, or `s3://bucket/prefix?endpoint_url=...`, with credentials as boto3 finds them; "
        "unset: in the work folder.",
    )
    zooniverse_username: str | None = Field(default=None, description="Login of the project's owner.")
    zooniverse_password: SecretStr | None = Field(default=None, description="Password of that login.")
    zooniverse_client_id: str | None = Field(default=None, description="OAuth application, instead of a login.")
    zooniverse_client_secret: SecretStr | None = Field(default=None, description="Secret of that application.")
    zooniverse_endpoint: str | None = Field(
        default=None,
        description="Another Panoptes that campaigns may name as `zooniverse.endpoint`, such as "
        "`https://panoptes.example.org`; without it only `https://www.zooniverse.org`, "
        "`https://panoptes-staging.zooniverse.org`, loopback and `standin`.",
    )
    user_hash_key: SecretStr | None = Field(
        default=None, description="Key of the hash that replaces user ids; unset makes one in the work folder."
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of proxies, with commas, whose `X-Forwarded-For` and `-Proto` the service "
        "believes; unset: none.",
    )
    dashboard_url: str | None = Field(
        default=None, description="Where people reach the service; runs in Prefect then link to its pages."
    )
    traces_url: str | None = Field(
        default=None,
        description="Where traces of cycles go (OTLP over HTTP), such as `http://127.0.0.1:4318/v1/traces`; wants the "
        "extra `tracing`; unset: none are made.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for a log store: one document per line."
    )
    image_roots: str = Field(
        default="",
        description="Folders, with `:` between, that a catalogue's image paths may lead into; without it none leads "
        "out of the folder that the catalogue, or `--images`, is in.",
    )
    image_hosts: str = Field(
        default="",
        description="Servers that images may be fetched from, with commas: `www.legacysurvey.org`, `host:8443`, "
        "`http://host` for one without TLS; also networks, such as `10.0.0.0/8`, of servers that have no public "
        "address; unset: none.",
    )
    image_buckets: str = Field(
        default="",
        description="Buckets that `s3://` images may be read from, with commas: `bucket` or "
        "`bucket?endpoint_url=...&region=...`, with credentials as boto3 finds them; unset: none.",
    )
    device: str = Field(
        default="auto",
        description="torch devices, separated by commas: `cpu`, `cuda`, `cuda:1`; `auto` takes the GPUs there are. "
        "Catalogues are predicted on all of them, networks train on the first.",
    )

    ray_address: str | None = Field(
        default=None,
        description="Head of a Ray cluster that predicts shards and trains members and seeds: `host:port` from a "
        "machine of the cluster, or `ray://host:port`; unset: one process.",
    )
    ray_workers: int | None = Field(
        default=None, ge=1, description="Workers there at most; unset: as many as it has GPUs, or CPUs without any."
    )

    run_start_s: float = Field(
        default=43_200, gt=0, description="Seconds that a step sent to another work pool waits for a worker."
    )
    run_pending_s: float = Field(
        default=1_800, gt=0, description="Seconds from when a worker takes it until its process runs."
    )
    run_silence_s: float = Field(
        default=300,
        gt=0,
        description="Seconds without a sign of life after which a run in another work pool is given up and its step "
        "sent again; the same for who sends and who runs it.",
    )
    run_attempts: int = Field(
        default=3, ge=1, description="Runs of a sent step that may be lost before its cycle fails."
    )
    outage_s: float = Field(
        default=1_800,
        ge=0,
        description="Seconds that a run which waits for another bears without an answer of the database, or of "
        "Prefect's server when it needs it.",
    )

    @property
    def bounds(self) -> Bounds:
        """How long is waited for a step that runs elsewhere."""
        return Bounds(
            start_s=self.run_start_s,
            pending_s=self.run_pending_s,
            silence_s=self.run_silence_s,
            outage_s=self.outage_s,
        )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _not_everybody(cls, value: tuple[IPv4Network | IPv6Network, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
        if any(network.prefixlen == 0 for network in value):
            raise ValueError("a network of every address would let any client name its own")
        return value

    @property
    def folder(self) -> Path:
        """The work folder as an absolute path."""
        return self.workdir.expanduser().resolve()

    @property
    def objects(self) -> str:
        """Address of the object store; a path is absolute, so that it names the same folder everywhere."""
        given = self.object_store or str(self.folder / "objects")
        return given if "://" in given or not given.strip() else str(Path(given).absolute())

    @property
    def image_folders(self) -> tuple[Path, ...]:
        """The folders of `image_roots`."""
        return tuple(Path(name).expanduser() for name in self.image_roots.split(os.pathsep) if name)


def load_settings(*, workdir: Path | None = None) -> Settings:
    """Read the settings; a work folder given as argument wins over the environment.

    Raises
    ------
    BadConfig
        A variable does not validate; the message names it.
    """
    try:
        return Settings() if workdir is None else Settings(workdir=workdir)
    except ValidationError as error:
        raise BadConfig(explain(error, prefix="ALSERVICE_")) from None

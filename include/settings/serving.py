"""The endpoint: what it accepts, what it keeps, and how it is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from include.settings.base import Group

# A server process has a working directory of its own; an empty variable is one that was not set.
OptionalFile = Annotated[Path | None, BeforeValidator(lambda path: Path(path).absolute() if path else None)]


class PredictionLogSettings(Group):
    """The log of every prediction that the endpoint answers.

    Attributes:
        enabled: Whether predictions are logged.
        uri: The destination of segments: a folder, by default ``<home>/prediction_log/<project>``, or
            ``s3://bucket/prefix``. Credentials come from the environment.
        spool: The folder of segments that are not yet delivered, on a disk of this machine;
            ``<home>/prediction_log_spool/<project>`` by default.
        features: Whether the features of a prediction are logged too.
        flush_seconds: The interval at which predictions are written from memory to a segment, and therefore the most
            that ``kill -9`` may lose.
        max_waiting_rows: The largest number of predictions in memory; further ones are counted as lost.
        max_spool_bytes: The largest size of the spool while segments cannot be delivered; further predictions are
            counted as lost.
        keep_days: The number of days, back from the newest, whose segments are kept after they were collected.
    """

    enabled: bool = True
    uri: str = Field(default="", pattern=r"^(/.+|s3://[^/@:]+(/.*)?)?$")
    spool: str = Field(default="", pattern=r"^(/.+)?$")
    features: bool = True
    flush_seconds: float = Field(default=5.0, gt=0, le=60)
    max_waiting_rows: int = Field(default=200_000, gt=0)
    max_spool_bytes: int = Field(default=2**30, gt=0)
    keep_days: int = Field(default=7, ge=0)


class StoreSettings(Group):
    """Where the endpoint finds the features of a customer whom a request names by id alone.

    Attributes:
        backend: ``embedded`` is files under ``<home>/online_store``, for processes on one machine; ``redis`` serves
            several; ``none`` keeps nothing.
        url: The Redis server: ``redis://user:password@host:6379/0``, ``rediss://...`` with TLS, ``unix:///path``.
        timeout_seconds: How long a request waits for Redis.
    """

    backend: Literal["embedded", "redis", "none"] = "embedded"
    url: SecretStr = SecretStr("")
    timeout_seconds: float = Field(default=0.25, gt=0)

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> StoreSettings:
        if self.backend == "redis" and not self.url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("backend 'redis' takes a url that begins with redis://, rediss:// or unix://")
        return self


class LimitSettings(Group):
    """What one server process takes on; it answers 503 to what is beyond.

    Attributes:
        in_flight: How many requests are answered at a time. A body counts once more for each 64 KiB that it has.
        body_bytes: How many bytes of bodies it holds, those that are still arriving included.
        event_loop_lag_seconds: How late its event loop may be, at each look of a fifth of a second.
        connections: How many connections it has; one more is closed at once.
        receive_seconds: How long a request may take to arrive.
    """

    in_flight: int = Field(default=256, ge=1)
    body_bytes: int = Field(default=256 * 2**20, ge=2**20)
    event_loop_lag_seconds: float = Field(default=0.5, gt=0)
    connections: int = Field(default=4096, ge=1)
    receive_seconds: float = Field(default=10.0, gt=0)


OpenRoute = Literal["/metrics", "/openapi.json"]


class ServingSettings(Group):
    """The endpoint that answers predictions.

    Attributes:
        max_body_bytes: The largest body of ``/predict``.
        max_batch_body_bytes: The largest body of ``/predict_batch``. JSON is parsed in one piece, some 7 ms for each MB
            in which other requests wait.
        max_batch_rows: The longest batch.
        out_of_range: Whether a number beyond the range of the model's contract is refused or accepted; it is counted.
        reasons_per_direction: How many reasons an answer names that raise the risk, and how many that lower it.
        stale_after_days: The age in days beyond which an answer says that the stored features are stale.
        api_keys_file: The API keys that the endpoint accepts (``python -m include.serving new-key``); without a file it
            asks for none.
        api_key: The key that the product's own client sends.
        open_routes: What is answered without a key, besides the probes. Metrics are, since a scraper on the default of
            one machine has no key; give ``[]`` where others reach the port.
        key_failures_per_minute: Requests without a valid key that an address may send in a minute before it hears 429.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=65536, ge=1024)
    max_batch_body_bytes: int = Field(default=8 * 2**20, ge=1024)
    max_batch_rows: int = Field(default=5_000, ge=1)
    ready_timeout_seconds: float = Field(default=90.0, gt=0)
    out_of_range: Literal["refuse", "accept"] = "refuse"
    reasons_per_direction: int = Field(default=3, ge=1, le=20)
    stale_after_days: int = Field(default=2, ge=0)
    kept_bentos: int = Field(
        default=3, ge=1, description="Bentos that a deployment leaves on disk, besides those in use and the one before."
    )
    overlap_seconds: float = Field(
        default=1.0, ge=0, description="How long a new server answers beside the old one before that one leaves."
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="How long a server that ends waits for its clients to go to the next one."
    )
    liveness_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Seconds between looks whether a server answers; after three misses it ends.",
    )
    reasons_for: int = Field(default=1000, ge=0, description="Customers at the top of the list who get reasons.")
    api_keys_file: OptionalFile = None
    api_key: SecretStr = SecretStr("")
    open_routes: tuple[OpenRoute, ...] = ("/metrics",)
    key_failures_per_minute: int = Field(default=20, ge=1)
    limits: LimitSettings = LimitSettings()
    log: PredictionLogSettings = PredictionLogSettings()
    store: StoreSettings = StoreSettings()

    @property
    def url(self) -> str:
        """The endpoint's base address."""
        return f"http://{self.host}:{self.port}"

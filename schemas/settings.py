"""Every setting of the product, typed, in one place.

Each is read from the environment as ``SIMPERSONA_`` plus its name in capitals; ``docs/settings.md`` lists them all and
a test keeps that table complete. Pure cores never read settings: shells pass them what they need.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Addresses, session rules and throughput dials. Raises pydantic's ValidationError on a value of the wrong type."""

    model_config = SettingsConfigDict(env_prefix="SIMPERSONA_", frozen=True)

    kafka: str = Field("127.0.0.1:9092", min_length=1, description="Kafka bootstrap servers, comma-separated.")
    clickhouse: str = Field(
        "http://default@127.0.0.1:8123/simpersona", description="ClickHouse HTTP(S) URL with user and database."
    )
    encoder: Path = Field(Path(".simpersona/encoder"), description="Folder of the encoder artefact a worker serves.")
    simulator: Path = Field(Path(".simpersona/simulator"), description="Folder of the simulator that agents use.")
    data: Path = Field(Path("../shared/data"), description="Folder of real click logs, for the tests that use them.")
    schema_registry: str = Field("", description="Confluent-compatible registry URL; empty uses the packaged schemas.")

    endpoint: str = Field("", description="OpenAI-compatible URL of the backend `openai`, up to and with /v1.")
    endpoint_model: str = Field("", description="Model that the endpoint is asked for.")
    endpoint_key: str = Field("", description="Key of the endpoint; empty sends none.")
    endpoint_at_once: int = Field(16, ge=1, description="Requests to the endpoint under way at the same time.")
    endpoint_price_in: float = Field(0.0, ge=0, description="Price of a million tokens told to the endpoint's model.")
    endpoint_price_out: float = Field(0.0, ge=0, description="Price of a million tokens that it answers.")

    group: str = Field("simpersona", description="Consumer group of the workers, also the Faust app's id.")
    catalogue: Path | None = Field(
        None, description="Catalogue file (Parquet) that the demo storefront shows; without it there is no storefront."
    )
    storefronts: Path | None = Field(
        None, description="A simulator's shops.jsonl: which pages and fields each merchant's demo storefront has."
    )
    chromium: str = Field("", description="Chromium for simulated buyers in a browser; empty finds one in PATH.")
    pseudonym_secret: str = Field(
        "development-only", description="Key of the gateway's client pseudonyms; set your own in production."
    )

    partitions: int = Field(4, ge=1, description="Partitions of the topics the product creates.")
    replication: int = Field(1, ge=1, description="Replication factor of the topics the product creates.")

    gap_ms: int = Field(1_800_000, ge=1, description="Session gap: a longer pause starts a new session.")
    allowed_lateness_ms: int = Field(300_000, ge=0, description="An event received later than this is late.")
    session_max_ms: int = Field(86_400_000, ge=1, description="A session is cut after this long.")
    session_max_events: int = Field(512, ge=2, description="A session is cut after this many events.")
    session_overrides: Path | None = Field(None, description="JSON file of session gaps: {merchant: gap_ms}.")
    state_dir: Path | None = Field(
        None, description="Folder for files that hold open sessions beyond memory; empty keeps them in memory."
    )
    idle_after_ms: int = Field(
        10_000,
        ge=0,
        description="A partition silent for this long is idle: its watermark then moves with the clock.",
    )

    commit_interval_ms: int = Field(5_000, ge=10, description="Time between commits of state, sink and offsets.")
    commit_when_quiet_ms: int = Field(
        500, ge=10, description="What is done is committed at once when nothing more has come for this long."
    )
    provisional_interval_ms: int = Field(400, ge=0, description="Least time between two provisional rounds.")
    decay_half_life_ms: int = Field(21_600_000, ge=1, description="Half-life of the exponentially decayed mix.")
    session_timeout_ms: int = Field(
        6_000,
        ge=1_000,
        description="A worker not heard of for this long is given up. The embedded broker's joins take half of it.",
    )
    rebalance_timeout_ms: int = Field(
        10_000, ge=100, description="Time workers have to commit and hand over at a rebalance."
    )
    worker_id: str = Field(
        "", description="A worker's lasting name (static group membership); empty makes every start a new member."
    )
    standby_replicas: int = Field(
        0, ge=0, description="Workers that keep a warm copy of a partition's sessions beside its owner; costs memory."
    )
    chunk_records: int = Field(10_000, ge=1, description="Records fetched from one partition at a time, at most.")
    stuck_after_ms: int = Field(
        60_000,
        ge=1_000,
        description="A worker that commits nothing for this long although work waits is not progressing.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines of long-running commands: text, or json with one object per line."
    )
    health_port: int = Field(0, ge=0, le=65_535, description="Port of a worker's health endpoint; 0 picks one.")
    broker_memory_mb: int = Field(
        2_048, ge=64, description="Memory of the embedded broker, in MiB; it keeps every record and ends at the limit."
    )
    store_memory_mb: int = Field(4_096, ge=512, description="Memory of the embedded ClickHouse, in MiB.")

    @field_validator("clickhouse", "schema_registry", "endpoint")
    @classmethod
    def _is_an_address(cls, address: str, info: ValidationInfo) -> str:
        if not address and not cls.model_fields[info.field_name or ""].default:
            return address
        try:
            parts = urlsplit(address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise PydanticCustomError("address", "write an address like http://host:port")
        return address


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the process's settings, read once from the environment."""
    return Settings()

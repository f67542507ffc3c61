"""The topic ``personas.codebooks``: encoders on their way to the workers, and which of them is to be served.

Compacted. The files of an artefact are records of their own, keyed ``<version>/<file>``; the record ``current`` says
which version the workers are to serve, and comes behind that version's files. Nothing but the broker is needed to hand
an encoder over, and an earlier one is still there to go back to. Everything lies in partition 0, in order.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as KafkaPartition

from encoders.artefact import CODEBOOK_FILE, MANIFEST_FILE, NETWORK_FILE, PERSONAS_FILE, check_artefact, read_manifest
from encoders.errors import ArtefactError
from schemas.topics import PERSONAS_CODEBOOKS
from streams.broker.chunks import TopicPartition
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.errors import CodebookTopicError

FILES = (NETWORK_FILE, CODEBOOK_FILE, PERSONAS_FILE, MANIFEST_FILE)
_CURRENT = b"current"
_TARGET = TopicPartition(PERSONAS_CODEBOOKS, 0)
_READ_TIMEOUT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Publication:
    """What ``current`` says.

    codebook_version  to be served
    previous_version  the one it replaced, "" for the first
    versions          all that were ever served from this topic, oldest first, each once
    published_at      milliseconds UTC
    reason            why, for people
    """

    codebook_version: str
    previous_version: str
    versions: tuple[str, ...]
    published_at: int
    reason: str

    def to_json(self) -> bytes:
        """Return the record's value."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def of(value: bytes) -> "Publication":
        """Read a record's value. Raises CodebookTopicError when it is none."""
        try:
            fields: Mapping[str, Any] = json.loads(value)
            return Publication(
                str(fields["codebook_version"]),
                str(fields["previous_version"]),
                tuple(map(str, fields["versions"])),
                int(fields["published_at"]),
                str(fields["reason"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CodebookTopicError(
                f"Topic {PERSONAS_CODEBOOKS} says in a way that is unknown here which codebook is current ({error!r}); "
                "publish again with `simpersona adapt`."
            ) from error


@dataclass(slots=True)
class Shelf:
    """What has been read of the topic: every version's files with the time they were written, and ``current``."""

    files: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    current: Publication | None = None

    def take(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> None:
        """Take one record in. Raises CodebookTopicError on a ``current`` that cannot be read."""
        if key == _CURRENT:
            self.current = None if value is None else Publication.of(value)
            return
        version, _, name = (key or b"").decode(errors="replace").partition("/")
        if name not in FILES:
            return  # of a later release
        if value is None:
            self.files.pop((version, name), None)
        else:
            self.files[version, name] = value, timestamp_ms

    def unpack(self, version: str, folder: Path) -> Path:
        """Write a version's files below ``folder`` and return their folder, checked. Raises CodebookTopicError."""
        target = folder / version
        missing = [name for name in FILES if (version, name) not in self.files]
        if missing:
            raise CodebookTopicError(
                f"Topic {PERSONAS_CODEBOOKS} lacks {', '.join(missing)} of codebook {version}; publish it again."
            )
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            value, written_ms = self.files[version, name]
            (target / name).write_bytes(value)
            os.utime(target / name, (written_ms / 1000, written_ms / 1000))
        try:
            found = check_artefact(target).codebook_version
        except ArtefactError as error:
            raise CodebookTopicError(
                f"Codebook {version} on topic {PERSONAS_CODEBOOKS} cannot be served: {error}"
            ) from error
        if found != version:
            raise CodebookTopicError(f"Topic {PERSONAS_CODEBOOKS} holds codebook {found} under the name {version}.")
        return target


class CodebookReader:
    """Reads the topic from its beginning, without a group; an asynchronous context."""

    def __init__(self, bootstrap: str) -> None:
        self.shelf = Shelf()
        self._bootstrap = bootstrap
        self._partition = KafkaPartition(*_TARGET)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # Nothing comes for days: the broker may hold an empty fetch back for as long as we wait.
            fetch_max_wait_ms=_READ_TIMEOUT_MS,
        )

    async def __aenter__(self) -> "CodebookReader":
        """Connect and read all that is there. Raises CodebookTopicError when no broker answers."""
        try:
            await self._consumer.start()
            # Before anything is fetched: behind a fetch that waits for records, the broker would let this wait.
            end = (await self._consumer.end_offsets([self._partition]))[self._partition]
            self._consumer.assign([self._partition])
            self._consumer.seek(self._partition, 0)
            while await self._consumer.position(self._partition) < end:
                await self.fetch()
        except KafkaError as error:
            await self._consumer.stop()
            raise CodebookTopicError(
                f"Topic {PERSONAS_CODEBOOKS} cannot be read at {self._bootstrap} ({error!r}); run `simpersona migrate` "
                "or correct SIMPERSONA_KAFKA."
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def fetch(self) -> bool:
        """Take in what comes within two seconds; return whether ``current`` is another one now."""
        before = self.shelf.current
        fetched = await self._consumer.getmany(timeout_ms=_READ_TIMEOUT_MS)
        for record in fetched.get(self._partition, ()):
            self.shelf.take(record.key, record.value, record.timestamp)
        return self.shelf.current != before


async def read_shelf(bootstrap: str) -> Shelf:
    """Return what the topic holds now. Raises CodebookTopicError."""
    async with CodebookReader(bootstrap) as reader:
        return reader.shelf


async def publish(bootstrap: str, folders: Sequence[Path], shelf: Shelf, reason: str, now_ms: int) -> Publication:
    """Put encoders on the topic, oldest first, and make the last of them the current one; durable on return.

    Called with the encoder that is served now and its successor; files that the topic has already are not sent again.
    Raises BrokerError when the broker does not take a record, ArtefactError when a folder is no encoder.
    """
    records: list[tuple[bytes, bytes]] = []
    versions = list(shelf.current.versions) if shelf.current else []
    for folder in folders:
        version = read_manifest(folder).codebook_version
        if version not in versions:
            versions.append(version)
        for name in FILES:
            if (version, name) not in shelf.files:
                records.append((f"{version}/{name}".encode(), (folder / name).read_bytes()))
    manifest = read_manifest(folders[-1])
    publication = Publication(
        manifest.codebook_version, str(manifest.fields.get("previous_version", "")), tuple(versions), now_ms, reason
    )
    await _send(bootstrap, [*records, (_CURRENT, publication.to_json())], now_ms)
    return publication


async def roll_back(bootstrap: str, shelf: Shelf, now_ms: int) -> Publication:
    """Make the codebook before the current one current again; durable on return.

    A second call goes back one further. Raises CodebookTopicError when nothing was published or nothing came before.
    """
    if shelf.current is None:
        raise CodebookTopicError(
            f"Topic {PERSONAS_CODEBOOKS} is empty: no adaptation was published that could be rolled back."
        )
    gone, version = shelf.current.codebook_version, shelf.current.previous_version
    if not version:
        raise CodebookTopicError(f"Codebook {gone} is the first on topic {PERSONAS_CODEBOOKS}; none came before it.")
    value = shelf.files.get((version, MANIFEST_FILE))
    if value is None:
        raise CodebookTopicError(f"Topic {PERSONAS_CODEBOOKS} no longer holds codebook {version}; publish it again.")
    before = str(json.loads(value[0]).get("previous_version", ""))
    # What was made before the first publication never came from here.
    before = before if before in shelf.current.versions else ""
    publication = Publication(version, before, shelf.current.versions, now_ms, f"rolled back from {gone}")
    await _send(bootstrap, [(_CURRENT, publication.to_json())], now_ms)
    return publication


async def _send(bootstrap: str, records: Sequence[tuple[bytes, bytes]], now_ms: int) -> None:
    emitter = Emitter(bootstrap)
    try:
        await emitter.start()
        # One record a batch: an encoder's file may fill one, and ``current`` must come after all of them.
        for key, value in records:
            await emitter.send_and_wait({_TARGET: packed([(key, value)], now_ms)})
    except KafkaError as error:
        raise CodebookTopicError(
            f"No Kafka broker answers at {bootstrap} ({error!r}); start one or correct SIMPERSONA_KAFKA."
        ) from error
    finally:
        await emitter.stop()

"""Decodes the values of click topics, asking for writer schemas that it meets for the first time."""

import logging
from collections.abc import Callable

import numpy as np

from schemas.avro_shapes import UnsupportedSchemaError
from schemas.click_codec import ClickChunk, ClickDecoder
from schemas.events import EventBatch
from schemas.framing import schema_ids
from schemas.packaged import Schema
from schemas.rejections import CODE_OF_REASON
from schemas.slices import Slices
from schemas.topics import CLICKS_RAW

logger = logging.getLogger(__name__)

#: A live event that was received further ahead of our clock than this was not received then. (Simulated buyers live
#: in a time of their own, often days ahead.)
FUTURE_MS = 3_600_000

#: Ids asked for per call, those of the most records first: garbage may look like any number of ids, each one a request.
ASKED_AT_ONCE = 64

#: Returns the writer schema of an id, None when nobody knows it; may raise RetryLater.
FindSchema = Callable[[int], Schema | None]


def fault_what_is_ahead(clicks: EventBatch, topic: str, now_ms: int) -> None:
    """Mark live events from the future as unusable, in place.

    One such event would move its partition's watermark so far that every later click were behind it.
    """
    if topic == CLICKS_RAW:
        ahead = clicks.received_ms > now_ms + FUTURE_MS
        clicks.fault[ahead & (clicks.fault == 0)] = CODE_OF_REASON["bad_time"]


class ClickReader:
    """One per worker, for one thread. Without ``find_schema`` only the packaged schemas are known."""

    def __init__(self, find_schema: FindSchema | None = None) -> None:
        self._decoder = ClickDecoder()
        self._find_schema = find_schema
        #: Schemas that are known and cannot be read; an id never changes its meaning.
        self._unreadable: set[int] = set()

    def read(self, values: Slices) -> ClickChunk:
        """Return one row per value, see ``ClickDecoder.decode``; records of a schema that cannot be read are faulty.

        Raises RetryLater while the registry does not answer: a record must not be rejected for that.
        """
        clicks = self._decoder.decode(values)
        unknown = np.flatnonzero(clicks.batch.fault == CODE_OF_REASON["unknown_schema"])
        if len(unknown) and self._learn(values.at(unknown)):
            clicks = self._decoder.decode(values)
        return clicks

    def _learn(self, values: Slices) -> bool:
        """Ask for the schemas of some records; return whether one was learnt."""
        if self._find_schema is None:
            return False
        learnt = False
        ids, counts = np.unique(schema_ids(values), return_counts=True)
        for schema_id in ids[np.argsort(-counts, kind="stable")][:ASKED_AT_ONCE].tolist():
            writer = None if schema_id in self._unreadable else self._find_schema(schema_id)
            if writer is None:
                continue
            try:
                self._decoder.learn(schema_id, writer)
                learnt = True
            except UnsupportedSchemaError as error:
                fields = {"schema_id": schema_id}
                logger.warning("Records of schema %d are rejected: %s", schema_id, error, extra=fields)
                self._unreadable.add(schema_id)
        return learnt

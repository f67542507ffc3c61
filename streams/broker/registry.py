"""Writer schemas by id from a Confluent-compatible schema registry.

Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html (GET /schemas/ids/{id}).
"""

import json
import time
from collections.abc import Callable

import httpx

from schemas.packaged import Schema
from streams.errors import RetryLater

_TIMEOUT_S = 5.0
_RETRY_AFTER_S = 2.0
_NOT_FOUND = 404
#: An id that is unknown may be registered at any moment; it is asked for again after this long, not for every record.
UNKNOWN_FOR_S = 1.0


class SchemaRegistry:
    """Look up schemas by id; a schema is kept, an id never changes its meaning. Blocking: call it off the loop.

    ``clock_s`` is a clock that never goes back.
    """

    def __init__(self, url: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_S)
        self._clock_s = clock_s
        self._known: dict[int, Schema] = {}
        self._unknown_until_s: dict[int, float] = {}

    def schema(self, schema_id: int) -> Schema | None:
        """Return the writer schema, None if the registry has no Avro schema of this id (its records are then rejected).

        Raises RetryLater while the registry does not answer: a record must not be rejected for that.
        """
        if schema_id not in self._known and self._clock_s() >= self._unknown_until_s.get(schema_id, 0.0):
            found = self._fetch(schema_id)
            if found is None:
                self._forget_old_ids()
                self._unknown_until_s[schema_id] = self._clock_s() + UNKNOWN_FOR_S
            else:
                self._known[schema_id] = found
        return self._known.get(schema_id)

    def _forget_old_ids(self) -> None:
        """Hostile records may name any number of ids; only those asked for lately are remembered as unknown."""
        now_s = self._clock_s()
        self._unknown_until_s = {one: until for one, until in self._unknown_until_s.items() if until > now_s}

    def _fetch(self, schema_id: int) -> Schema | None:
        try:
            answer = self._client.get(f"/schemas/ids/{schema_id}")
            if answer.status_code == _NOT_FOUND:
                return None
            answer.raise_for_status()
            found = answer.json()
            # Protobuf and JSON schemas live in the same registry; Avro is what goes without saying.
            if found.get("schemaType", "AVRO") != "AVRO":
                return None
            schema: Schema = json.loads(found["schema"])
            return schema
        # Whatever else answers there (a proxy's page, say) is not the registry's word on a schema either.
        except (httpx.HTTPError, ValueError, KeyError, AttributeError) as error:
            raise RetryLater(
                f"The schema registry at {self._client.base_url} does not answer ({error}); start it or unset "
                "SIMPERSONA_SCHEMA_REGISTRY.",
                _RETRY_AFTER_S,
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

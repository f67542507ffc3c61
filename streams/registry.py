"""Writer schemas by id from a Confluent-compatible schema registry.

Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html (GET /schemas/ids/{id}).
"""

import json

import httpx

from schemas.packaged import Schema
from streams.errors import RetryLater

_TIMEOUT_S = 5.0
_RETRY_AFTER_S = 2.0
_NOT_FOUND = 404


class SchemaRegistry:
    """Look up schemas by id; answers are kept, an id never changes its meaning. Blocking: call it off the loop."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_S)
        self._known: dict[int, Schema | None] = {}

    def schema(self, schema_id: int) -> Schema | None:
        """Return the writer schema, None if the registry does not know the id (its records are then rejected).

        Raises RetryLater while the registry does not answer: a record must not be rejected for that.
        """
        if schema_id not in self._known:
            self._known[schema_id] = self._fetch(schema_id)
        return self._known[schema_id]

    def _fetch(self, schema_id: int) -> Schema | None:
        try:
            answer = self._client.get(f"/schemas/ids/{schema_id}")
            if answer.status_code == _NOT_FOUND:
                return None
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise RetryLater(
                f"The schema registry at {self._client.base_url} does not answer ({error}); start it or unset "
                "SIMPERSONA_SCHEMA_REGISTRY.",
                _RETRY_AFTER_S,
            ) from error
        schema: Schema = json.loads(answer.json()["schema"])
        return schema

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

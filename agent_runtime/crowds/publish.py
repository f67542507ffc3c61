"""Simulated clicks to Kafka: their own topic, in event-time order, with a promise of time at the end."""

from collections.abc import Iterable, Mapping
from types import TracebackType

from kafka import KafkaProducer
from kafka.errors import KafkaError

from agent_runtime.errors import PublishError
from schemas.click_codec import encode_click, encode_watermark
from schemas.topics import CLICKS_SIMULATED, click_key

#: A broker that takes longer to answer at the start is not there; one that takes longer to acknowledge has gone.
BOOTSTRAP_MS = 10_000
_ANSWER_S = 30.0
_LINGER_MS = 20


class ClickPublisher:
    """A producer of simulated clicks; use it as a context manager. Leaving the block waits for all acknowledgements.

    One request is under way at a time, so that a repeated one cannot overtake the next. Raises PublishError when no
    broker answers or a record is not taken.
    """

    def __init__(self, bootstrap: str, topic: str = CLICKS_SIMULATED) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._pending: list[object] = []
        try:
            self._producer = KafkaProducer(
                bootstrap_servers=bootstrap.split(","),
                bootstrap_timeout_ms=BOOTSTRAP_MS,
                acks="all",
                linger_ms=_LINGER_MS,
                max_in_flight_requests_per_connection=1,
            )
        except KafkaError as error:
            raise PublishError(
                f"No Kafka broker answers at {bootstrap} ({error}); start one or correct SIMPERSONA_KAFKA."
            ) from error

    def __enter__(self) -> "ClickPublisher":
        return self

    def send(self, clicks: Iterable[Mapping[str, object]]) -> int:
        """Send ClickEvents, which must come in event-time order; return how many."""
        count = 0
        for click in clicks:
            key = click_key(str(click["merchant_id"]), str(click["client_id"]))
            self._send(key=key, value=encode_click(click))
            count += 1
        return count

    def promise(self, watermark_ms: int) -> None:
        """Tell every partition that event time has come this far, so that sessions close there."""
        value = encode_watermark(watermark_ms)
        for partition in sorted(self._partitions()):
            self._send(value=value, partition=partition)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged. Raises PublishError naming the first refusal."""
        try:
            self._producer.flush(timeout=_ANSWER_S)
            for future in self._pending:
                future.get(timeout=_ANSWER_S)  # type: ignore[attr-defined]
        except KafkaError as error:
            raise PublishError(f"The broker at {self._bootstrap} did not take {self._topic}: {error}.") from error
        self._pending.clear()

    def _partitions(self) -> set[int]:
        try:
            found = self._producer.partitions_for(self._topic)
        except KafkaError as error:
            raise self._absent(f" ({error})") from error
        if not found:
            raise self._absent("")
        return set(found)

    def _absent(self, reason: str) -> PublishError:
        return PublishError(
            f"Topic {self._topic} is not on the broker at {self._bootstrap}{reason}; run `simpersona migrate`."
        )

    def _send(self, **record: object) -> None:
        try:
            self._pending.append(self._producer.send(self._topic, **record))
        except KafkaError as error:
            raise PublishError(f"The broker at {self._bootstrap} did not take {self._topic}: {error}.") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._producer.close(timeout=_ANSWER_S)

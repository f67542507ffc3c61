"""The producer of a fault test: sends the log in the order of receipt, a slice at a time, while things break."""

from confluent_kafka import Producer

from schemas.click_codec import encode_watermark
from schemas.topics import CLICKS_RAW
from tests.faults.clicks import Clicks

#: A promise that closes every session: no run lasts longer.
CLOSING_MS = 7 * 86_400_000
ACKNOWLEDGED_WITHIN_S = 120.0
#: Longer than any fault: what waits for a dead broker must not run out.
_PATIENCE_MS = 600_000


class Feed:
    """Sends a log once. Idempotent and in order, so that a broker's death changes neither order nor number.

    By librdkafka: kafka-python puts batches that a restarted broker refuses back in the order of the answers, the last
    one first, and records of a partition that came back were seen to wait there until they ran out.
    """

    def __init__(self, bootstrap: str, clicks: Clicks, partitions: int) -> None:
        """Connect; the topic must be there."""
        self._clicks = clicks
        self._partitions = partitions
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as the other clients' default
                "linger.ms": 5,
                "delivery.timeout.ms": _PATIENCE_MS,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,  # A dead broker is what the test is about.
            }
        )
        self.sent = 0

    @property
    def share(self) -> float:
        """How much of the log was sent, 0 to 1."""
        return self.sent / len(self._clicks.records)

    def send(self, share: float) -> None:
        """Hand the producer all records up to a share of the log; it sends them by itself, outages or not."""
        end = round(min(share, 1.0) * len(self._clicks.records))
        for key, value in self._clicks.records[self.sent : end]:
            self._producer.produce(CLICKS_RAW, key=key, value=value, on_delivery=_delivered)
        self._producer.poll(0)
        self.sent = max(self.sent, end)

    def again(self) -> None:
        """Begin the log anew: what follows sends it a second time."""
        self.sent = 0

    def finish(self) -> None:
        """Send what is left and a watermark that closes all sessions; return once the broker has everything."""
        self.send(1.0)
        self._acknowledged()
        closing = encode_watermark(self._clicks.last_ms + CLOSING_MS)
        for partition in range(self._partitions):
            self._producer.produce(CLICKS_RAW, value=closing, partition=partition, on_delivery=_delivered)
        self._acknowledged()

    def stop(self) -> None:
        """Forget whatever was not sent."""
        self._producer.purge()

    def _acknowledged(self) -> None:
        waiting = self._producer.flush(ACKNOWLEDGED_WITHIN_S)
        assert waiting == 0, f"{waiting} records wait for the broker after {ACKNOWLEDGED_WITHIN_S:.0f} s"


def _delivered(error: object, message: object) -> None:
    """Raise, out of `poll` or `flush`, what the broker said of a record that it did not take."""
    assert error is None, f"{message} was not taken: {error}"

"""The producer of a fault test: sends the log in the order of receipt, a slice at a time, while things break."""

from kafka import KafkaProducer

from schemas.click_codec import encode_watermark
from schemas.topics import CLICKS_RAW
from tests.faults.clicks import Clicks

#: A promise that closes every session: no run lasts longer.
CLOSING_MS = 7 * 86_400_000
ACKNOWLEDGED_WITHIN_S = 120.0


class Feed:
    """Sends a log once. Idempotent and in order, so that a broker's death changes neither order nor number."""

    def __init__(self, bootstrap: str, clicks: Clicks, partitions: int) -> None:
        """Connect; the topic must be there."""
        self._clicks = clicks
        self._partitions = partitions
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            reconnect_backoff_max_ms=1_000,
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
            self._producer.send(CLICKS_RAW, key=key, value=value)
        self.sent = max(self.sent, end)

    def again(self) -> None:
        """Begin the log anew: what follows sends it a second time."""
        self.sent = 0

    def finish(self) -> None:
        """Send what is left and a watermark that closes all sessions; return once the broker has everything."""
        self.send(1.0)
        self._producer.flush(timeout=ACKNOWLEDGED_WITHIN_S)
        closing = encode_watermark(self._clicks.last_ms + CLOSING_MS)
        for partition in range(self._partitions):
            self._producer.send(CLICKS_RAW, value=closing, partition=partition)
        self._producer.flush(timeout=ACKNOWLEDGED_WITHIN_S)

    def stop(self) -> None:
        """Disconnect, whatever was not sent."""
        self._producer.close(timeout=1)

"""A worker in which one chunk of every partition stays unacknowledged: `python -m tests.faults.withholding FILE`.

The worker is the real one, down to its broker; only the acknowledgement of each click partition's second chunk gets
lost. FILE takes a line per chunk withheld: topic, partition, first offset.
"""

import sys
from pathlib import Path

from streams.broker.chunks import TopicPartition
from streams.broker.ledger import Entry, OffsetLedger
from streams.broker.topology import CLICKS_RAW

WITHHELD = 2


def withhold(file: Path) -> None:
    """Lose the acknowledgement of the second chunk of every partition of the click topic."""
    ack = OffsetLedger.ack
    acked: dict[TopicPartition, int] = {}

    def acknowledge(ledger: OffsetLedger, entry: Entry) -> None:
        source = entry.source
        acked[source] = acked.get(source, 0) + 1
        if source.topic == CLICKS_RAW and acked[source] == WITHHELD:
            with file.open("a") as lines:
                lines.write(f"{source.topic} {source.partition} {entry.first}\n")
            return
        ack(ledger, entry)

    OffsetLedger.ack = acknowledge  # type: ignore[method-assign]


if __name__ == "__main__":
    from streams.__main__ import main

    withhold(Path(sys.argv[1]))
    main()

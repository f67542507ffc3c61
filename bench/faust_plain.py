"""The peer: a Faust agent as its documentation writes one, fastavro per event and one table write per event.

``python -m bench.faust_plain --kafka ADDRESS --topic TOPIC --events N`` counts N events and prints one JSON line with
the seconds from the first to the last event and the CPU seconds of the process between them.
"""

import argparse
import io
import json
import os
import time
from typing import Any

import fastavro
import faust

from schemas.framing import HEADER_BYTES
from schemas.packaged import CLICK_EVENT_ID, packaged_schema


def build_app(kafka: str, topic_name: str, partitions: int, expected: int) -> faust.App:
    """Return the app; it ends the process after ``expected`` events."""
    app = faust.App(
        f"faust-plain-{topic_name}",
        broker=f"aiokafka://{kafka}",
        value_serializer="raw",
        topic_partitions=partitions,
        topic_disable_leader=True,
        stream_wait_empty=False,
        broker_session_timeout=6.0,
        broker_rebalance_timeout=3.0,
        worker_redirect_stdouts=False,
        web_enabled=False,
        datadir=None,
    )
    schema = fastavro.parse_schema(packaged_schema(CLICK_EVENT_ID))
    clicks = app.topic(topic_name, value_type=bytes, value_serializer="raw")
    counts = app.Table("clicks_per_client", default=int, partitions=partitions)
    seen = {"events": 0, "first_s": 0.0, "first_cpu_s": 0.0}

    @app.agent(clicks)
    async def count(stream: Any) -> None:
        nonlocal seen
        async for value in stream:
            if not seen["events"]:
                seen |= {"first_s": time.monotonic(), "first_cpu_s": time.process_time()}
            click = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema, None)
            counts[f"{click['merchant_id']}|{click['client_id']}"] += 1
            seen["events"] += 1
            if seen["events"] == expected:
                took_s, cpu_s = time.monotonic() - seen["first_s"], time.process_time() - seen["first_cpu_s"]
                print(json.dumps({"seconds": took_s, "cpu_s": cpu_s}), flush=True)
                # Faust's own way of stopping waits for ever on an agent that ends itself; the figure is out.
                os._exit(0)

    return app


def main() -> None:
    """Run the peer as a worker in the foreground."""
    parser = argparse.ArgumentParser(prog="python -m bench.faust_plain", description=__doc__)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    arguments = parser.parse_args()
    app = build_app(arguments.kafka, arguments.topic, arguments.partitions, arguments.events)
    faust.Worker(app, loglevel="WARN").execute_from_commandline()


if __name__ == "__main__":
    main()

"""What a worker counts, in Prometheus' terms; one registry per worker, so that tests can run several."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from schemas.rejections import REASONS

_NAMESPACE = "simpersona"
#: Bucket bounds for chunk and batch sizes, in records.
_SIZES = (1, 10, 100, 1_000, 2_500, 5_000, 10_000, 25_000)
#: Bucket bounds for durations of one chunk's or one commit's work, in seconds.
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The worker's counters and gauges; names begin with ``simpersona_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=self.registry)
        gauge = partial(Gauge, namespace=_NAMESPACE, registry=self.registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self.registry)
        self.records = counter("records", "Records processed.", ["topic"])
        self.chunks_acked = counter("chunks_acked", "Chunks whose effects are durable.")
        self.rebalances = counter("rebalances", "Partition assignments received.")
        self.events = counter("events", "Click events by what became of them.", ["outcome"])
        self.rejected = counter("rejected_events", "Click events that could not be used.", ["reason"])
        for reason in filter(None, REASONS):
            # From the beginning: a series that appears with its first burst shows no increase.
            self.rejected.labels(reason)
        self.assignments = counter("assignments", "Session rows emitted.", ["kind"])
        self.chunk_records = histogram("chunk_records", "Records per chunk.", ["hop"], buckets=_SIZES)
        self.encode_sessions = histogram("encode_sessions", "Sessions per encoder call.", buckets=_SIZES)
        self.encode_seconds = histogram("encode_seconds", "Time of one encoder call.", buckets=_SECONDS)
        self.process_seconds = histogram("process_seconds", "Time of one chunk in a hop.", ["hop"], buckets=_SECONDS)
        self.commit_seconds = histogram("commit_seconds", "Time of one commit of a hop.", ["hop"], buckets=_SECONDS)
        self.insert_seconds = histogram("insert_seconds", "Time of one INSERT.", ["table"], buckets=_SECONDS)
        self.insert_rows = histogram("insert_rows", "Rows per INSERT.", ["table"], buckets=_SIZES)
        self.codebook_swaps = counter("codebook_swaps", "Changes to another published codebook while running.")
        self.changelog_records = counter("changelog_records", "Changelog records written.")
        self.restored_records = counter("restored_records", "Changelog records read at assignment.")
        self.standby_records = counter("standby_records", "Changelog records read for partitions of other workers.")
        self.lag = gauge("lag_records", "Records the broker holds beyond the last one fetched.", ["topic", "partition"])
        self.watermark_delay = gauge(
            "watermark_delay_seconds", "Wall clock minus event-time watermark.", ["topic", "partition"]
        )
        self.open_sessions = gauge("open_sessions", "Sessions not yet final.")
        self.open_events = gauge("open_events", "Events in sessions not yet final.")
        self.state_bytes = gauge("state_bytes", "Memory held by session windows.")
        self.uncommitted_chunks = gauge("uncommitted_chunks", "Chunks delivered and not yet committed.")
        self.progressing = gauge("progressing", "1 while the worker makes progress or has nothing to do.")
        self.quiet_seconds = gauge("quiet_seconds", "Time for which a hop has committed nothing although work waited.")
        self.store_away = gauge("store_away", "1 while a hop waits for its store.")
        # Memory, processor time and open files of the process itself.
        ProcessCollector(registry=self.registry)

    def inserted(self, table: str, rows: int, seconds: float) -> None:
        """Note one INSERT that the store has confirmed."""
        self.insert_seconds.labels(table).observe(seconds)
        self.insert_rows.labels(table).observe(rows)

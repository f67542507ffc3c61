"""A tiny world shared by the tests of simulated shoppers: one shop, a few buyer types, an event log of theirs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent_runtime.models.markov import MarkovChain, fit_markov
from agent_runtime.storefront.capabilities import FIELDS, Capabilities
from agent_runtime.storefront.shop import Product, Shop
from agent_runtime.traces.traces import Traces, read_traces
from agent_runtime.vocabulary import Vocabulary
from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from encoders.serving import Encoder
from schemas.taxonomy import EVENT_CODES
from tests.untrained import write_untrained

START_MS = 1_764_000_000_000  # Monday 24 November 2025, 16:00 UTC
MINUTE_MS = 60_000
CODEBOOK = "cb-test"
CODE_PATHS = ("c00.f0", "c00.f1", "c01.f0")


@pytest.fixture(scope="session")
def shop() -> Shop:
    """A shop where everything can happen, with twelve products in three categories."""
    products = tuple(Product(f"p{i}", "abc"[i % 3], 1_000 + 700 * i, 20 - i) for i in range(12))
    fields = dict.fromkeys(EVENT_CODES, frozenset(FIELDS))
    requires = {
        "checkout_started": frozenset({"product_added_to_cart"}),
        "checkout_completed": frozenset({"checkout_started"}),
    }
    return Shop(
        "shop", "EUR", products, (("red", 3), ("blue", 1)), Capabilities(frozenset(EVENT_CODES), fields, requires)
    )


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Words for three buyer types of two coarse ones."""
    return Vocabulary(CODEBOOK, CODE_PATHS)


def click_row(client: str, place: int, t_ms: int, event: str, **columns: object) -> dict[str, object]:
    """Return one row of an event log."""
    row: dict[str, object] = dict.fromkeys(ARROW_SCHEMA.names)
    row |= {
        "event_id": f"{client}-{place}-{t_ms}",
        "merchant_id": "shop",
        "client_id": client,
        "event_name": event,
        "occurred_at": t_ms,
        "received_at": t_ms,
        "device": "mobile",
        "is_bot": False,
        "schema_version": 1,
        "properties": {},
    }
    return row | columns


@pytest.fixture(scope="session")
def write_log() -> Callable[[Path, list[dict[str, object]]], Path]:
    """Return a function that writes rows as an event log in time order."""

    def write(path: Path, rows: list[dict[str, object]]) -> Path:
        ordered = sorted(rows, key=lambda row: row["occurred_at"])  # type: ignore[arg-type, return-value]
        columns = {name: [row[name] for row in ordered] for name in ARROW_SCHEMA.names}
        columns["properties"] = [[] for _ in ordered]
        arrays = [pa.array(columns[field.name], field.type) for field in ARROW_SCHEMA]
        with EventLogWriter(path) as log:
            log.write(pa.table(arrays, schema=ARROW_SCHEMA))
        return path

    return write


@pytest.fixture(scope="session")
def toy_log(tmp_path_factory: pytest.TempPathFactory, write_log: Callable[..., Path]) -> tuple[Path, Path]:
    """An event log and its assignments: type 0 looks once, 1 at four things, 2 buys what it saw last."""
    folder = tmp_path_factory.mktemp("toy")
    rows: list[dict[str, object]] = []
    assigned = []
    random = np.random.default_rng(5)
    for buyer in range(120):
        code, client = buyer % 3, f"client-{buyer}"
        t_ms, place, first_ms = START_MS + buyer * MINUTE_MS, 0, START_MS + buyer * MINUTE_MS
        products = random.permutation(12)[: (1, 4, 2)[code]]
        moves: list[tuple[str, dict[str, object]]] = [
            ("product_viewed", {"product_id": f"p{p}", "category": "abc"[p % 3], "price_minor": 1_000 + 700 * int(p)})
            for p in products
        ]
        if code == 2:
            bought = dict(moves[-1][1], quantity=1)
            moves += [("product_added_to_cart", bought), ("checkout_started", {}), ("checkout_completed", {})]
        for place, (event, columns) in enumerate(moves):
            rows.append(click_row(client, place, t_ms, event, currency="EUR", **columns))
            t_ms += 3_000 if code == 2 else 20_000
        assigned.append((client, code, first_ms, rows[-1]["occurred_at"], len(moves)))
    log = write_log(folder / "events.parquet", rows)
    times = pa.timestamp("ms", tz="UTC")
    table = pa.table(
        {
            "merchant_id": ["shop"] * len(assigned),
            "client_id": [row[0] for row in assigned],
            "started_at": pa.array([row[2] for row in assigned], times),
            "ended_at": pa.array([row[3] for row in assigned], times),
            "events": pa.array([row[4] for row in assigned], pa.int32()),
            "code": pa.array([row[1] for row in assigned], pa.int32()),
            "code_path": [CODE_PATHS[row[1]] for row in assigned],
            "codebook_version": [CODEBOOK] * len(assigned),
            "is_bot": [False] * len(assigned),
        }
    )
    pq.write_table(table, folder / "assigned.parquet")
    return log, folder / "assigned.parquet"


@pytest.fixture(scope="session")
def toy_traces(toy_log: tuple[Path, Path]) -> Traces:
    """The toy log as traces."""
    return read_traces([toy_log[0]], toy_log[1], 1_000, 0)


@pytest.fixture(scope="session")
def chain(toy_traces: Traces, vocabulary: Vocabulary) -> MarkovChain:
    """The scripted chain of the toy log."""
    return fit_markov(toy_traces, vocabulary)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, toy_log: tuple[Path, Path]) -> list[str]:
    """What ``finetune`` is told of the toy log: its sessions with types of an encoder that exists."""
    folder = tmp_path_factory.mktemp("taught")
    version = Encoder.load(write_untrained(folder / "encoder", 1)).version
    table = pq.read_table(toy_log[1])
    place = table.schema.get_field_index("codebook_version")
    assigned = table.set_column(place, "codebook_version", pa.array([version] * len(table)))
    pq.write_table(assigned, folder / "assigned.parquet")
    named = {"--events": toy_log[0], "--assignments": folder / "assigned.parquet", "--encoder": folder / "encoder"}
    return ["finetune", *(str(word) for pair in named.items() for word in pair)]

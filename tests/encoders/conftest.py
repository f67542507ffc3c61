"""A toy population with planted buyer types: small, quick, and no kin of the product's own generator."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch

from encoders.artefact import write_artefact
from encoders.event_log import ARROW_SCHEMA
from encoders.fitting import FittedEncoder, finish, provenance
from encoders.model import Shape
from encoders.sessionise import SessionLog
from encoders.training import TrainedEncoder, TrainingOptions, split_held_out, train
from schemas.events import EVENT
from schemas.taxonomy import DEVICES, EVENT_CODES, EVENT_NAMES

_VIEW, _SEARCH = EVENT_CODES["product_viewed"], EVENT_CODES["search_submitted"]
_ADD, _BUY = EVENT_CODES["product_added_to_cart"], EVENT_CODES["checkout_completed"]
_HOUR_MS = 3_600_000

#: mean events, mean pause in seconds, chance of a repeat view, a search, putting into the cart, buying after it
TYPES = (
    (4, 20, 0.05, 0.02, 0.02, 0.1),
    (16, 4, 0.05, 0.02, 0.02, 0.1),
    (10, 40, 0.70, 0.02, 0.10, 0.2),
    (8, 15, 0.05, 0.60, 0.10, 0.3),
    (6, 10, 0.10, 0.10, 0.50, 0.9),
    (12, 25, 0.30, 0.10, 0.40, 0.05),
)


@dataclass(frozen=True)
class Population:
    """Sessions and the planted type of each."""

    log: SessionLog
    types: npt.NDArray[np.int64]


def event_table(log: SessionLog) -> pa.Table:
    """Return the sessions as a canonical event log whose ids are written-out hashes."""
    rows = []
    for session in range(len(log)):
        for event in log.events[log.starts[session] : log.starts[session] + log.lengths[session]]:
            time_ms = int(event["t"])
            rows.append(
                {
                    "event_id": str(event["id"]),
                    "merchant_id": log.merchants[log.merchant[session]],
                    "client_id": f"client-{log.key[session]}",
                    "event_name": EVENT_NAMES[event["event"]],
                    "occurred_at": time_ms,
                    "received_at": time_ms + 50,
                    "product_id": str(event["product"]) if event["product"] else None,
                    "category": str(event["category"]) if event["category"] else None,
                    "price_minor": None if np.isnan(event["price"]) else int(event["price"]),
                    "quantity": int(event["quantity"]),
                    "query": str(event["query"]) if event["query"] else None,
                    "device": DEVICES[event["device"]],
                    "is_bot": False,
                    "schema_version": 1,
                }
            )
    rows.sort(key=lambda row: row["occurred_at"])
    return pa.Table.from_pylist(rows, ARROW_SCHEMA)


def _events(random: np.random.Generator, kind: int, start_ms: int, catalogue: int) -> npt.NDArray[np.void]:
    depth, pause_s, repeat, search, add, buy = TYPES[kind]
    count = 1 + random.poisson(depth - 1)
    events = np.zeros(count, EVENT)
    pauses_ms = (random.gamma(2.0, pause_s / 2.0, count) * 1000).astype(np.int64)
    events["t"] = start_ms + np.cumsum(pauses_ms)
    events["id"] = random.integers(1, 2**63, count)
    events["device"] = random.integers(1, 4)
    events["quantity"] = 1
    events["price"] = np.nan
    product = 0
    in_cart = False
    for event in events:
        if random.random() < search:
            event["event"], event["query"] = _SEARCH, 1 + random.integers(50)
            continue
        if product == 0 or random.random() > repeat:
            product = catalogue * 1000 + 1 + int(random.integers(200))
        event["product"], event["category"], event["price"] = product, product % 7 + 1, 500 + product % 200 * 20
        event["event"] = _VIEW
        if random.random() < add:
            event["event"], in_cart = _ADD, True
    if in_cart and random.random() < buy:
        events[-1]["event"] = _BUY
    return events


@pytest.fixture(scope="session")
def populate() -> Callable[[int, int, int], Population]:
    """Return a function of (merchants, buyers a merchant, seed): a population of about two sessions a buyer."""

    def make(merchants: int, buyers: int, seed: int) -> Population:
        random = np.random.default_rng(seed)
        parts, keys, owners, types = [], [], [], []
        for merchant in range(merchants):
            mix = random.dirichlet(np.full(len(TYPES), 2.0))
            for buyer in range(buyers):
                kind = int(random.choice(len(TYPES), p=mix))
                for visit in range(1 + random.poisson(1.0)):
                    start_ms = 1_700_000_000_000 + (visit * 24 + int(random.integers(12))) * _HOUR_MS
                    parts.append(_events(random, kind, start_ms, merchant))
                    keys.append(merchant * buyers + buyer)
                    owners.append(merchant)
                    types.append(kind)
        lengths = np.array([len(part) for part in parts])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        log = SessionLog(
            np.concatenate(parts),
            starts,
            lengths,
            np.array(keys, np.uint64),
            np.array(owners, np.int32),
            tuple(f"shop-{index}" for index in range(merchants)),
        )
        return Population(log, np.array(types))

    return make


@pytest.fixture(scope="session")
def as_table() -> Callable[[SessionLog], pa.Table]:
    """Return the function that writes sessions out as a canonical event log."""
    return event_table


@dataclass(frozen=True)
class Trained:
    """A small encoder trained on a toy population, and what it was trained and measured on."""

    population: Population
    training: SessionLog
    held_out: SessionLog
    planted: npt.NDArray[np.int64]
    trained: TrainedEncoder
    fitted: FittedEncoder
    folder: Path


@pytest.fixture(scope="session")
def small(populate: Callable[[int, int, int], Population], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained, finished and written encoder of 6 buyer types with 2 finer codes each."""
    torch.set_num_threads(1)
    population = populate(8, 150, 5)
    training, held_out = split_held_out(population.log, 0)
    planted = population.types[np.isin(population.log.merchant, np.unique(held_out.merchant))]
    options = TrainingOptions(Shape(width=32, coarse=6, fine=2), epochs=12, batch=256)
    trained = train(training, held_out, options, torch.device("cpu"))
    fitted = finish(trained, training, held_out, planted)
    folder = tmp_path_factory.mktemp("encoders") / "small"
    fields = {"metrics": fitted.metrics, **provenance(trained, training)}
    write_artefact(folder, fitted.network, fitted.codebook, fitted.personas, fields)
    return Trained(population, training, held_out, planted, trained, fitted, folder)

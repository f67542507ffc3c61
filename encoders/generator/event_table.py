"""Raw events as rows of the canonical event log: names, ids, prices with currency, paths."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from encoders.event_log import ARROW_SCHEMA, TIMESTAMP
from encoders.generator import raw_events as raw
from encoders.generator.delivery import Deliveries
from encoders.generator.merchants import Merchant
from encoders.generator.randomness import keys, uniforms
from encoders.generator.raw_events import RawEvents
from encoders.generator.visits import Visits
from encoders.generator.vocabulary import CATEGORY_NAMES, INFO_PAGES, QUERIES
from schemas.events import U64
from schemas.taxonomy import EVENT_NAMES

#: Version of the ClickEvent contract that generated events claim to be written with.
SCHEMA_VERSION = 1
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DEVICES = ("desktop", "mobile", "tablet")
_REFERRERS = ("direct", "search", "social", "email", "ads")
_REFERRER_HABITS = ("direct", "organic", "social", "email", "ads")
#: Streams of random numbers: a buyer's device never changes, where they come from is drawn for each visit.
_DEVICE, _REFERRER, _CLIENT = 21, 22, 23
_PATHS = {
    raw.CART: "/cart",
    raw.CHECKOUT: "/checkout",
    raw.PAYMENT: "/checkout/payment",
    raw.COMPLETED: "/checkout/thank-you",
    raw.SEARCH: "/search",
}


class EventTable:
    """Turns raw events of one run into Arrow tables; built once a run, holds the shops' names and products."""

    def __init__(self, merchants: Sequence[Merchant], visits: Visits, habits: npt.NDArray[np.void]) -> None:
        self._visits = visits
        self._habits = habits
        self._merchant_ids = pa.array([m.merchant_id for m in merchants])
        self._currencies = pa.array([m.catalogue.currency for m in merchants])
        self._products = pa.array([product for m in merchants for product in m.catalogue.product_id], pa.string())
        self._product_paths = pc.binary_join_element_wise("/products/", self._products, "")
        self._category_paths = pa.array([f"/collections/{name}" for name in CATEGORY_NAMES])
        fixed = [_PATHS.get(code, "") for code in range(len(EVENT_NAMES))]
        #: One pool of paths: info pages, then fixed paths by event, then lists, then products.
        self._paths = pa.concat_arrays(
            [pa.array([*INFO_PAGES, *fixed]), self._category_paths, self._product_paths.cast(pa.string())]
        )

    def rows(self, events: RawEvents, event_key: U64, deliveries: Deliveries) -> pa.Table:
        """Return the deliveries of ``events`` (n,) as a table of ``ARROW_SCHEMA``; ``event_key`` (n,) names them."""
        which = deliveries.event
        events = events[which]
        visits = self._visits[events["visit"]]
        merchant = visits["merchant"]
        named = {
            "event_id": hex_ids(event_key).take(pa.array(which)),
            "merchant_id": self._merchant_ids.take(pa.array(merchant)),
            "client_id": client_ids(visits["buyer_key"]),
            "event_name": pa.array(EVENT_NAMES).take(pa.array(events["event"])),
            "occurred_at": _times(events["t_ms"]),
            "received_at": _times(deliveries.received_ms),
            "product_id": self._products.take(_optional(events["product"])),
            "category": pa.array(CATEGORY_NAMES).take(_optional(events["category"])),
            "price_minor": _optional(events["price_minor"]),
            "currency": self._currencies.take(pa.array(merchant, mask=events["price_minor"] < 0)),
            "quantity": pa.array(events["quantity"], mask=events["quantity"] == 0),
            "query": pa.array(QUERIES).take(_optional(events["query"])),
            "url_path": self._paths.take(pa.array(self._path_index(events))),
            "referrer_kind": pa.array(_REFERRERS).take(self._referrers(events, visits)),
            "device": pa.array(_DEVICES).take(pa.array(self._devices(visits))),
            "is_bot": pa.array(visits["declared_bot"]),
            "schema_version": pa.array(np.full(len(events), SCHEMA_VERSION, dtype=np.int32)),
            "properties": _properties(events),
        }
        return pa.table([named[name] for name in ARROW_SCHEMA.names], schema=ARROW_SCHEMA)

    def _path_index(self, events: RawEvents) -> npt.NDArray[np.int64]:
        index = len(INFO_PAGES) + events["event"].astype(np.int64)
        lists = len(INFO_PAGES) + len(EVENT_NAMES)
        index = np.where(events["event"] == raw.PAGE, events["page"], index)
        index = np.where(events["event"] == raw.LIST, lists + events["category"], index)
        return np.where(events["product"] >= 0, lists + len(CATEGORY_NAMES) + events["product"], index)

    def _devices(self, visits: Visits) -> npt.NDArray[np.int8]:
        """Return a device per row, the same for all visits of a buyer; bots use desktops."""
        u = uniforms(visits["buyer_key"], _DEVICE)
        human = visits["kind"] >= 0
        kind = np.where(human, visits["kind"], 0)
        mobile, tablet = self._habits["mobile"][kind], self._habits["tablet"][kind]
        device = np.where(u < mobile, 1, np.where(u < mobile + tablet, 2, 0))
        return np.where(human, device, 0).astype(np.int8)

    def _referrers(self, events: RawEvents, visits: Visits) -> pa.Array:
        """Return where a visit came from, on its first event only; bots come directly."""
        human = visits["kind"] >= 0
        kind = np.where(human, visits["kind"], 0)
        weights = np.stack([self._habits[name][kind] for name in _REFERRER_HABITS], axis=1)
        cumulative = np.cumsum(weights, axis=1)
        u = uniforms(visits["visit_key"], _REFERRER)[:, None] * cumulative[:, -1:]
        drawn = np.minimum((u >= cumulative).sum(axis=1), len(_REFERRERS) - 1)
        return pa.array(np.where(human, drawn, 0).astype(np.int8), mask=events["sequence"] > 0)


def client_ids(buyer_key: U64) -> pa.Array:
    """Return the pseudonyms of buyers, 16 hexadecimal digits each."""
    return hex_ids(keys(_CLIENT, buyer_key))


def hex_ids(number: U64) -> pa.Array:
    """Return (n,) 64-bit numbers as strings of 16 hexadecimal digits."""
    digits = 16
    shifts = np.arange(4 * (digits - 1), -1, -4, dtype=np.uint64)
    text = _HEX[((number[:, None] >> shifts) & np.uint64(15)).astype(np.uint8)]
    offsets = np.arange(0, digits * (len(number) + 1), digits, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))]
    return pa.Array.from_buffers(pa.string(), len(number), buffers)


def _optional(values: npt.NDArray[np.integer]) -> pa.Array:
    return pa.array(values, mask=values < 0)


def _times(t_ms: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(t_ms).cast(TIMESTAMP)


def _properties(events: RawEvents) -> pa.Array:
    """Return the list price of products on promotion, an empty map elsewhere."""
    cut = events["list_price_minor"] >= 0
    offsets = np.concatenate([[0], np.cumsum(cut)]).astype(np.int32)
    values = pa.array(events["list_price_minor"][cut]).cast(pa.string())
    return pa.MapArray.from_arrays(pa.array(offsets), pa.array(["list_price_minor"] * len(values)), values)

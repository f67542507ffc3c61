"""What was planted: every session's buyer type, every drift and promotion, and how many faults."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from encoders.generator.buyer_types import TYPE_NAMES
from encoders.generator.drifts import Drift, Floats
from encoders.generator.event_table import client_ids
from encoders.generator.merchants import Merchant
from encoders.generator.simulation import Slice
from encoders.generator.visits import BOT_KINDS, Visits
from encoders.generator.vocabulary import CATEGORY_NAMES

#: One row per planted session. ``type`` is an index into ``TYPE_NAMES``, -1 for bots; ``visit`` counts a client's
#: sessions from 0; ``events`` leaves second copies out; times are those of the session's first and last event.
TRUTH_SCHEMA = pa.schema(
    [
        ("merchant_id", pa.string()),
        ("client_id", pa.string()),
        ("visit", pa.int32()),
        ("started_ms", pa.int64()),
        ("ended_ms", pa.int64()),
        ("events", pa.int32()),
        ("type", pa.int16()),
        ("type_name", pa.string()),
        ("is_bot", pa.bool_()),
        ("converted", pa.bool_()),
    ]
)
#: Names by ``kind`` modulo their number: buyer types from the front, bots (negative kinds) from the back.
_NAMES = pa.array([*TYPE_NAMES, *(BOT_KINDS[kind] for kind in sorted(BOT_KINDS))])


def truth_rows(part: Slice, visits: Visits, merchants: Sequence[Merchant]) -> pa.Table:
    """Return the truth of the visits simulated in one slice, as ``TRUTH_SCHEMA``."""
    own = visits[part.first : part.last]
    kind = own["kind"].astype(np.int64)
    ids = pa.array([merchant.merchant_id for merchant in merchants])
    return pa.table(
        [
            ids.take(pa.array(own["merchant"])),
            client_ids(own["buyer_key"]),
            own["number"],
            own["start_ms"],
            part.ended_ms,
            part.counts,
            np.maximum(own["kind"], -1),
            _NAMES.take(pa.array(kind % len(_NAMES))),
            kind < 0,
            part.bought,
        ],
        schema=TRUTH_SCHEMA,
    )


def truth_summary(
    merchants: Sequence[Merchant], start_ms: int, end_ms: int, seed: int, counts: Mapping[str, object]
) -> dict[str, object]:
    """Return the JSON beside the truth: shops with mixes and promotions, the list of drifts, and all counts."""
    return {
        "seed": seed,
        "start": iso(start_ms),
        "end": iso(end_ms),
        "types": list(TYPE_NAMES),
        "counts": dict(counts),
        "drifts": [_drift(merchant, merchant.drift) for merchant in merchants if merchant.drift is not None],
        "promotions": [
            {
                "merchant_id": merchant.merchant_id,
                "promotion_id": promotion.promotion_id,
                "start_ms": promotion.start_ms,
                "end_ms": promotion.end_ms,
                "category": CATEGORY_NAMES[promotion.category],
                "discount": promotion.discount,
            }
            for merchant in merchants
            for promotion in merchant.promotions
        ],
        "merchants": [
            {
                "merchant_id": merchant.merchant_id,
                "mix": _mix(merchant.mix),
                "products": len(merchant.catalogue),
                "currency": merchant.catalogue.currency,
                "has_cart": merchant.has_cart,
                "has_payment": merchant.has_payment,
                "shows_price": merchant.shows_price,
                "utc_offset_h": merchant.utc_offset_h,
                "peak_hour": round(merchant.peak_hour, 2),
                **({} if merchant.conditions is None else {"conditions": merchant.conditions.to_json()}),
            }
            for merchant in merchants
        ],
    }


def iso(t_ms: int) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat()


def _drift(merchant: Merchant, drift: Drift) -> dict[str, object]:
    return {
        "merchant_id": merchant.merchant_id,
        "kind": drift.kind,
        "at_ms": drift.at_ms,
        "until_ms": drift.until_ms,
        "period_ms": drift.period_ms if drift.kind == "seasonal" else None,
        "from_mix": _mix(merchant.mix),
        "to_mix": _mix(drift.to_mix),
    }


def _mix(shares: Floats) -> dict[str, float]:
    return {name: round(float(share), 6) for name, share in zip(TYPE_NAMES, shares, strict=True)}

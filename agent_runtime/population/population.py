"""Who walks in: the latest mix of buyer types of a merchant, and the shoppers drawn from it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agent_runtime.draws import Purpose, draws
from agent_runtime.errors import PopulationError
from schemas.events import I32, I64


@dataclass(frozen=True, slots=True)
class Mix:
    """A merchant's mix at one time. ``weights`` code -> share, summing to 1; ``as_of_ms`` its event time, UTC."""

    merchant_id: str
    codebook_version: str
    as_of_ms: int
    n_effective: float
    weights: dict[int, float]

    def __post_init__(self) -> None:
        """Raise PopulationError when there is nothing to draw from."""
        if not self.weights or not sum(self.weights.values()) > 0:
            raise PopulationError(f"Merchant {self.merchant_id} has an empty mix of buyer types.")


class Reader(Protocol):
    """Reads from the store: ``streams.store.connection.Store`` is one."""

    def select(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        """Return a query's rows; ``%(name)s`` in ``sql`` are bound parameters."""
        ...


_LATEST = """
SELECT codebook_version, toUnixTimestamp64Milli(window_start) AS as_of_ms, n_effective, code, weight
FROM merchant_distributions FINAL
WHERE merchant_id = %(merchant)s AND source = 'live' AND window = 'decayed' AND weight > 0
  AND (codebook_version, window_start) IN
  (
      SELECT argMax(codebook_version, (window_start, emitted_at)), max(window_start)
      FROM merchant_distributions
      WHERE merchant_id = %(merchant)s AND source = 'live' AND window = 'decayed'
        AND window_start <= fromUnixTimestamp64Milli(%(at_ms)s, 'UTC')
  )
ORDER BY code
"""
#: After all that the store can hold: the year 2100.
_ENDLESS_MS = 4_102_444_800_000
_KNOWN = "SELECT DISTINCT merchant_id FROM latest_mix WHERE source = 'live' ORDER BY merchant_id LIMIT 20"
_MERCHANTS = "SELECT DISTINCT merchant_id FROM latest_mix WHERE source = 'live' ORDER BY merchant_id"
_CLOCK = "SELECT toUnixTimestamp64Milli(max(finished_at)) AS finished_ms, count() AS runs FROM simulation_runs FINAL"


def latest_mix(store: Reader, merchant_id: str, at_ms: int = _ENDLESS_MS) -> Mix:
    """Return a merchant's latest decayed mix of live sessions, or what it was at ``at_ms``, event time, UTC.

    Raises PopulationError when there is none.
    """
    rows = store.select(_LATEST, {"merchant": merchant_id, "at_ms": at_ms}).to_pylist()
    if not rows and at_ms < _ENDLESS_MS:
        latest = datetime.fromtimestamp(latest_mix(store, merchant_id).as_of_ms / 1000, UTC)
        raise PopulationError(
            f"Merchant {merchant_id} had no mix of buyer types by then; its latest is of {latest:%Y-%m-%dT%H:%M}Z."
        )
    if not rows:
        known = [row["merchant_id"] for row in store.select(_KNOWN).to_pylist()]
        others = f"known are {', '.join(known)}" if known else "none is known yet; stream some traffic first"
        raise PopulationError(f"Merchant {merchant_id} has no mix of buyer types; {others}.")
    total = sum(row["weight"] for row in rows)
    return Mix(
        merchant_id,
        rows[0]["codebook_version"],
        int(rows[0]["as_of_ms"]),
        float(rows[0]["n_effective"]),
        {int(row["code"]): row["weight"] / total for row in rows},
    )


def assigned_mix(path: Path, merchant_id: str) -> Mix:
    """Return a merchant's mix of all shoppers' sessions in a file of ``simpersona assign``, every one counted alike.

    Raises PopulationError when the file is none, is of several codebooks, or does not know the merchant.
    """
    columns = ["merchant_id", "code", "codebook_version", "is_bot", "started_at"]
    try:
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise PopulationError(f"{path}: no assignments ({error}); make them with `simpersona assign`.") from error
    people = table.filter(pc.and_(pc.invert(table["is_bot"]), pc.greater_equal(table["code"], 0)))
    own = people.filter(pc.equal(people["merchant_id"], merchant_id))
    versions = pc.unique(own["codebook_version"]).to_pylist()
    if not len(own):
        known = ", ".join(sorted(pc.unique(people["merchant_id"]).to_pylist())[:20])
        raise PopulationError(f"{path}: no session of a shopper at {merchant_id}; it knows {known}.")
    if len(versions) > 1:
        raise PopulationError(f"{path}: made by several codebooks ({', '.join(versions)}); assign with one.")
    counts = {int(one["values"]): one["counts"] / len(own) for one in pc.value_counts(own["code"]).to_pylist()}
    as_of_ms = int(pc.max(pc.cast(pc.cast(own["started_at"], pa.timestamp("ms", tz="UTC")), pa.int64())).as_py())
    return Mix(merchant_id, str(versions[0]), as_of_ms, float(len(own)), dict(sorted(counts.items())))


def merchants_with_mix(store: Reader) -> list[str]:
    """Return the merchants that have a mix of live sessions."""
    return [row["merchant_id"] for row in store.select(_MERCHANTS).to_pylist()]


def simulated_until_ms(store: Reader) -> int | None:
    """Return the event time up to which simulations have closed their sessions, None when there was none.

    Simulated clicks share their topic's watermarks, so the next run has to begin after this.
    """
    row = store.select(_CLOCK).to_pylist()[0]
    return int(row["finished_ms"]) if row["runs"] else None


def quotas(mix: Mix, buyers: int, seed: int) -> I32:
    """Return the buyer type of each of ``buyers`` shoppers, (n,) int32: the mix by largest remainder, in random order.

    The shares are met as nearly as whole shoppers allow (Hamilton's method), so that a small crowd is no further from
    the mix than it must be; the order is drawn by ``seed``.
    """
    codes = np.array(sorted(mix.weights), np.int32)
    exact = np.array([mix.weights[int(code)] for code in codes]) * buyers / sum(mix.weights.values())
    counts = np.floor(exact).astype(np.int64)
    rest = buyers - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    crowd = np.repeat(codes, counts)
    order = np.argsort(draws(seed, np.arange(buyers), 0, Purpose.PERSONA), kind="stable")
    return np.asarray(crowd[order], np.int32)


def sampled(mix: Mix, agents: I64, seed: int) -> I32:
    """Return the buyer type of each agent, (n,) int32, drawn independently: for shoppers who come one by one."""
    codes = np.array(sorted(mix.weights), np.int32)
    shares = np.array([mix.weights[int(code)] for code in codes])
    return np.asarray(codes[drawn(np.broadcast_to(shares, (len(agents), len(codes))), agents, seed)], np.int32)


def drawn(chances: npt.NDArray[np.float64], agents: I64, seed: int) -> I32:
    """Return the buyer type of each agent, (n,) int32, drawn from what its own type may be, ``chances`` (n, K)."""
    heaps = np.cumsum(chances, axis=1)
    at = draws(seed, agents, 0, Purpose.PERSONA) * heaps[:, -1]
    places = (heaps <= at[:, None]).sum(axis=1)
    return np.asarray(np.minimum(places, chances.shape[1] - 1), np.int32)

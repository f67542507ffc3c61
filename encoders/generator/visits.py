"""Who comes when: arrivals of buyers, their returns, and the visits of bots."""

import numpy as np
import numpy.typing as npt

from encoders.generator.drifts import Floats
from encoders.generator.merchants import HOUR_MS, Merchant
from encoders.generator.randomness import keys
from schemas.events import I64

#: One visit. ``buyer`` numbers the clients of a shop; ``kind`` is a buyer type, or ``BOT_KINDS`` below when negative;
#: ``deadline_ms`` is when the visit must have ended, so that two visits of a buyer are two sessions.
VISIT = np.dtype(
    [
        ("start_ms", np.int64),
        ("deadline_ms", np.int64),
        ("buyer_key", np.uint64),
        ("visit_key", np.uint64),
        ("merchant", np.int32),
        ("buyer", np.int32),
        ("number", np.int32),
        ("kind", np.int16),
        ("declared_bot", np.bool_),
    ]
)
Visits = npt.NDArray[np.void]

#: ``kind`` of a visit by a bot: a crawler of products, a watcher of prices, a hoarder of stock.
BOT_KINDS = {-1: "bot_crawler", -2: "bot_price_watcher", -3: "bot_hoarder"}

#: Arrivals are drawn in bins of this length.
_BIN_MS = 900_000
#: Two visits of one buyer start at least this far apart, and the earlier ends this long before the later starts
#: (longer than any session gap in use).
_LEAST_LAG_MS, _PAUSE_MS = 2 * HOUR_MS, 45 * 60_000
#: No visit lasts longer.
_LONGEST_MS = 6 * HOUR_MS
#: Times considered for each return; the shopper takes one in proportion to how well it suits them.
_CANDIDATES = 4
#: Lags are those of an unhurried world; a run shorter than this many hours shortens them in proportion.
_UNHURRIED_H = 96.0
#: Share of the buyers from before a sudden drift that do not come back after it.
_LOST_AT_SUDDEN_DRIFT = 0.85
#: How strongly a promotion draws those who care for promotions.
_PROMOTION_PULL = 0.5
#: Streams of random numbers of a shop's traffic.
_BUYERS, _BOTS = 3, 4


def plan_visits(
    merchant: Merchant, position: int, seed: int, buyers: int, start_ms: int, end_ms: int, types: npt.NDArray[np.void]
) -> Visits:
    """Return the visits of a shop's ``buyers`` buyers that start in [start_ms, end_ms), unsorted.

    ``position`` is the shop's index in the run's world. Every buyer comes at least once and keeps their type.
    """
    rng = np.random.default_rng([seed, merchant.number, start_ms, _BUYERS])
    first_ms, kind = _arrivals(merchant, rng, buyers, start_ms, end_ms, types)
    hurry = min(1.0, (end_ms - start_ms) / HOUR_MS / _UNHURRIED_H)
    who, when, number = [np.arange(buyers)], [first_ms], [np.zeros(buyers, dtype=np.int32)]
    alive, last_ms = np.arange(buyers), first_ms
    while len(alive):
        again = rng.random(len(alive)) < types["returns"][kind[alive]]
        alive, last_ms = alive[again], last_ms[again]
        last_ms = _returns(merchant, rng, last_ms, kind[alive], hurry, types)
        staying = last_ms < end_ms
        drift = merchant.drift
        if drift is not None and drift.kind == "sudden":
            lost = (first_ms[alive] < drift.at_ms) & (last_ms >= drift.at_ms)
            staying &= ~(lost & (rng.random(len(alive)) < _LOST_AT_SUDDEN_DRIFT))
        alive, last_ms = alive[staying], last_ms[staying]
        who.append(alive)
        when.append(last_ms)
        number.append(np.full(len(alive), len(number), dtype=np.int32))
    root = (seed, merchant.number, start_ms)
    return _visits(position, root, np.concatenate(who), np.concatenate(when), np.concatenate(number), kind)


def plan_bots(
    merchant: Merchant, position: int, seed: int, buyers: int, visits: int, share: float, start_ms: int, end_ms: int
) -> Visits:
    """Return bot visits such that ``share`` of all the shop's sessions are theirs (``visits`` are by buyers).

    Bots count on from ``buyers``; each comes about five times. Seven of ten say that they are bots.
    """
    rng = np.random.default_rng([seed, merchant.number, start_ms, _BOTS])
    count = int(rng.binomial(visits, share / (1.0 - share))) if visits else 0
    bots = -(-count // 5)
    who = rng.integers(0, max(bots, 1), size=count)
    kind = -1 - rng.integers(0, len(BOT_KINDS), size=max(bots, 1)).astype(np.int16)
    declared = rng.random(max(bots, 1)) < 0.7
    when = rng.integers(start_ms, end_ms, size=count)
    order = np.lexsort((when, who))
    who, when = who[order], when[order]
    # A bot's visits must be sessions of their own too: drop those that follow too closely.
    apart = np.ones(count, dtype=np.bool_)
    apart[1:] = (who[1:] != who[:-1]) | (np.diff(when) > _LEAST_LAG_MS)
    who, when = who[apart], when[apart]
    first = np.searchsorted(who, who, side="left")
    number = (np.arange(len(who)) - first).astype(np.int32)
    kinds = np.concatenate([np.zeros(buyers, dtype=np.int16), kind])
    result = _visits(position, (seed, merchant.number, start_ms), buyers + who, when, number, kinds)
    result["declared_bot"] = declared[result["buyer"] - buyers]
    return result


def _visits(
    position: int,
    root: tuple[int, int, int],
    who: I64,
    when: I64,
    number: npt.NDArray[np.int32],
    kind: npt.NDArray[np.int16],
) -> Visits:
    order = np.lexsort((number, who))
    who, when, number = who[order], when[order], number[order]
    result = np.zeros(len(who), dtype=VISIT)
    result["merchant"], result["buyer"], result["number"] = position, who, number
    result["start_ms"], result["kind"] = when, kind[who]
    deadline = when + _LONGEST_MS
    same = who[1:] == who[:-1]
    deadline[:-1][same] = np.minimum(deadline[:-1][same], when[1:][same] - _PAUSE_MS)
    result["deadline_ms"] = deadline
    seed, shop, run = root
    result["buyer_key"] = keys(seed, shop, run, who)
    result["visit_key"] = keys(seed, shop, run, who, when)
    return result


def _arrivals(
    merchant: Merchant, rng: np.random.Generator, buyers: int, start_ms: int, end_ms: int, types: npt.NDArray[np.void]
) -> tuple[I64, npt.NDArray[np.int16]]:
    bins = start_ms + _BIN_MS * np.arange(-(-(end_ms - start_ms) // _BIN_MS), dtype=np.int64)
    kinds = len(merchant.mix)
    weight = merchant.mix_at(bins) * merchant.busyness(bins)[:, None]
    weight = weight * taste_for_hour(merchant, bins[:, None], np.arange(kinds)[None, :], types)
    for promotion in merchant.promotions:
        running = (bins >= promotion.start_ms) & (bins < promotion.end_ms)
        weight[running] *= np.exp(_PROMOTION_PULL * types["promo"][:kinds])
    cumulative = np.cumsum(weight.ravel())
    drawn = np.searchsorted(cumulative, rng.random(buyers) * cumulative[-1], side="right")
    bin_index, kind = np.divmod(drawn, kinds)
    offset = rng.integers(0, np.minimum(_BIN_MS, end_ms - bins)[bin_index])
    return bins[bin_index] + offset, kind.astype(np.int16)


def _returns(
    merchant: Merchant,
    rng: np.random.Generator,
    last_ms: I64,
    kind: npt.NDArray[np.int16],
    hurry: float,
    types: npt.NDArray[np.void],
) -> I64:
    lag_h = types["lag_h"][kind, None] * hurry * np.exp(0.6 * rng.standard_normal((len(kind), _CANDIDATES)))
    candidates = last_ms[:, None] + np.maximum((lag_h * HOUR_MS).astype(np.int64), _LEAST_LAG_MS)
    suits = merchant.busyness(candidates) * taste_for_hour(merchant, candidates, kind[:, None], types)
    cumulative = np.cumsum(suits, axis=1)
    chosen = (rng.random((len(kind), 1)) * cumulative[:, -1:] > cumulative).sum(axis=1)
    return np.asarray(candidates[np.arange(len(kind)), np.minimum(chosen, _CANDIDATES - 1)])


def taste_for_hour(merchant: Merchant, t_ms: I64, kind: npt.NDArray[np.integer], types: npt.NDArray[np.void]) -> Floats:
    """Return how readily shoppers of a kind visit at a time: von Mises over the day, mean 1, and a weekend factor."""
    hour, is_weekend = merchant.local_time(t_ms)
    focus = types["focus"][kind]
    daily = np.exp(focus * np.cos(2.0 * np.pi * (hour - types["peak_hour"][kind]) / 24.0)) / np.i0(focus)
    return np.asarray(daily * np.exp(types["weekend"][kind] * is_weekend))

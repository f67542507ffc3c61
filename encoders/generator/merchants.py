"""The shops of a generated world: what each sells, can do, attracts, and when it is busy."""

from dataclasses import dataclass

import numpy as np

from encoders.generator.buyer_types import BUYER_TYPES
from encoders.generator.catalogue import Catalogue, build_catalogue
from encoders.generator.conditions import draw_conditions
from encoders.generator.drifts import SCHEDULE, Drift, Floats, Promotion, draw_mix, plant_drift, plant_promotions
from encoders.generator.vocabulary import CURRENCIES
from schemas.conditions import Conditions
from schemas.events import I64

HOUR_MS = 3_600_000
#: 1970-01-01 was a Thursday; Monday counts as day 0.
_EPOCH_WEEKDAY = 3
#: Streams of a merchant's random numbers, so that adding draws to one part leaves the others alone.
_SHOP, _TRAFFIC, _CONDITIONS = 1, 2, 5


@dataclass(frozen=True, slots=True)
class Merchant:
    """One shop. Everything but ``drift`` and ``promotions`` depends on the seed and the shop's number alone.

    mix           (T,) shares of buyer types among arriving buyers, before any drift
    has_cart      the shop has a cart page
    has_payment   checkout has a payment step of its own
    shows_price   list pages show prices, so shoppers can choose by price before they open a product
    tempo, depth  factors on every shopper's seconds per page and patience here
    peak_hour, swing, weekend  the shop's rhythm: local busy hour, log strength of day and weekend
    utc_offset_h  local time minus UTC
    conditions    what shoppers answer to here (the catalogue's prices are those of level 1); None where nobody does
    """

    merchant_id: str
    number: int
    mix: Floats
    catalogue: Catalogue
    has_cart: bool
    has_payment: bool
    shows_price: bool
    tempo: float
    depth: float
    peak_hour: float
    swing: float
    weekend: float
    utc_offset_h: int
    drift: Drift | None
    promotions: tuple[Promotion, ...]
    conditions: Conditions | None = None

    def mix_at(self, t_ms: I64) -> Floats:
        """Return the mix of arriving buyers at each time, (n, T)."""
        if self.drift is None:
            return np.broadcast_to(self.mix, (len(t_ms), len(self.mix)))
        share = self.drift.share(t_ms)[:, None]
        return np.asarray((1.0 - share) * self.mix + share * self.drift.to_mix)

    def busyness(self, t_ms: I64) -> Floats:
        """Return the shop's relative traffic at each time, (n,): hour-of-day and weekday rhythm."""
        hour, is_weekend = self.local_time(t_ms)
        return np.exp(self.swing * np.cos(2.0 * np.pi * (hour - self.peak_hour) / 24.0) + self.weekend * is_weekend)

    def local_time(self, t_ms: I64) -> tuple[Floats, Floats]:
        """Return local hour of day in [0, 24) and 1.0 on Saturdays and Sundays, both (n,)."""
        hours = t_ms / HOUR_MS + self.utc_offset_h
        weekday = (np.floor(hours / 24.0) + _EPOCH_WEEKDAY) % 7
        return np.asarray(hours % 24.0), (weekday >= 5).astype(np.float64)


def build_merchant(
    seed: int, number: int, start_ms: int, end_ms: int, with_drift: bool, with_conditions: bool = False
) -> Merchant:
    """Return shop ``number`` of the world ``seed``; runs with other start times see the same shop."""
    rng = np.random.default_rng([seed, number, _SHOP])
    merchant_id = f"shop-{number:03d}"
    mix = draw_mix(rng, len(BUYER_TYPES))
    catalogue = build_catalogue(rng, f"p{number:03d}", CURRENCIES[int(rng.integers(len(CURRENCIES)))])
    has_cart, has_payment, shows_price = (bool(flag) for flag in rng.random(3) < (0.75, 0.65, 0.7))
    tempo, depth = np.exp(0.1 * rng.standard_normal(2))
    peak_hour, swing, weekend = rng.uniform(11.0, 21.0), rng.uniform(0.4, 1.0), rng.normal(0.0, 0.25)
    utc_offset_h = int(rng.integers(-1, 3))
    traffic = np.random.default_rng([seed, number, start_ms, end_ms, _TRAFFIC])
    kind = SCHEDULE[number % len(SCHEDULE)] if with_drift else None
    return Merchant(
        merchant_id=merchant_id,
        number=number,
        mix=mix,
        catalogue=catalogue,
        has_cart=has_cart,
        has_payment=has_payment,
        shows_price=shows_price,
        tempo=float(tempo),
        depth=float(depth),
        peak_hour=float(peak_hour),
        swing=float(swing),
        weekend=float(weekend),
        utc_offset_h=utc_offset_h,
        promotions=plant_promotions(traffic, merchant_id, catalogue.category, start_ms, end_ms),
        drift=None if kind is None else plant_drift(traffic, kind, mix, start_ms, end_ms),
        conditions=draw_conditions(np.random.default_rng([seed, number, _CONDITIONS])) if with_conditions else None,
    )

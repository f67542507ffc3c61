"""What a simulation brought, in columns; sessions as objects only for those who ask for them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.capabilities import FIELDS
from agent_runtime.storefront.click import Click, page_path
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.tables import CLICK, NONE, Clicks
from schemas.events import I32, I64
from schemas.taxonomy import DEVICES, REFERRERS


@dataclass(frozen=True)
class Played:
    """``n`` sessions in agent order, and how much of the backend's wish was not on offer.

    agents, codes, traits  (n,), (n,), (n, 3): number, buyer type, places of device, referrer and moment
    left         (n,) False when the session was cut at the length limit instead of the shopper leaving
    clicks       records of ``CLICK``; session ``i`` has ``offsets[i]:offsets[i + 1]``
    masked       (n,) sum of the probability that the backend gave to moves the storefront does not serve
    decisions    number of moves asked for
    """

    storefront: Storefront
    code_paths: tuple[str, ...]
    agents: I64
    codes: I32
    traits: I64
    left: npt.NDArray[np.bool_]
    offsets: I64
    clicks: Clicks
    masked: npt.NDArray[np.float64]
    decisions: int

    def __len__(self) -> int:
        return len(self.agents)

    @property
    def masked_mass(self) -> float:
        """Mean probability that the backend gave to moves the storefront does not serve, over all decisions.

        Added up shopper by shopper, so that it does not depend on who was played together.
        """
        return float(np.cumsum(self.masked)[-1]) / max(self.decisions, 1) if len(self) else 0.0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of who came and of every click: equal runs have equal ones."""
        digest = hashlib.sha256()
        for column in (self.agents, self.codes, self.traits, self.left, self.offsets, self.masked):
            digest.update(np.ascontiguousarray(column).tobytes())
        for name in CLICK.names or ():
            digest.update(np.ascontiguousarray(self.clicks[name]).tobytes())
        return digest.hexdigest()

    @cached_property
    def sessions(self) -> list[PlayedSession]:
        """The sessions as objects, in agent order."""
        clicks = self.clicks
        made = [
            self._click(*columns)
            for columns in zip(
                *(clicks[name].tolist() for name in ("action", "product", "category", "price", "quantity", "query")),
                strict=True,
            )
        ]
        actions, times = clicks["action"].tolist(), clicks["t"].tolist()
        bounds = self.offsets.tolist()
        return [
            PlayedSession(
                agent=agent,
                code=code,
                code_path=self.code_paths[code],
                device=DEVICES[device],
                referrer=REFERRERS[referrer],
                actions=tuple(actions[first:end]),
                clicks=tuple(made[first:end]),
                times_ms=tuple(times[first:end]),
                left=left,
            )
            for agent, code, (device, referrer, _), left, first, end in zip(
                self.agents.tolist(), self.codes.tolist(), self.traits.tolist(), self.left.tolist(),
                bounds[:-1], bounds[1:], strict=True,
            )
        ]  # fmt: skip

    def _click(self, action: int, place: int, category_at: int, price: int, quantity: int, query_at: int) -> Click:
        shop, event = self.storefront.shop, ACTIONS[action].event
        product = None if place == NONE else shop.products[place]
        category = None if category_at == NONE else self.storefront.categories[category_at]
        values = {
            "product_id": None if product is None else product.product_id,
            "category": category if product is None else product.category,
            "price_minor": price or None,
            "quantity": None if product is None else quantity,
            "query": None if query_at == NONE else self.storefront.queries[query_at],
        }
        carried = {column: values[column] if shop.capabilities.fills(event, column) else None for column in FIELDS}
        return Click(event=event, url_path=page_path(event, product and product.product_id, category), **carried)  # type: ignore[arg-type]

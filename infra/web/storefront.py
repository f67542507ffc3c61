"""The demo storefront: a merchant's own catalogue as plain pages whose pixel sends every step to the gateway.

Home, collections, search, products, cart, and a checkout in steps; each merchant has the pages and fields that its own
storefront has. The pages need nothing but HTML, one style sheet and one script.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from agent_runtime.storefront.address import merchant_of, segment_of
from infra.web.catalogue import Assortment, Shops
from infra.web.displays import Displays, Offer, Promotion
from infra.web.troubles import Trouble, Troubles

_TEMPLATES = Path(__file__).with_name("static")
#: Pages of a step that is an event of its own, in order.
STEPS = {
    "cart": "cart_viewed",
    "checkout": "checkout_started",
    "review": "payment_info_submitted",
    "thanks": "checkout_completed",
}
#: Queries suggested in the search box.
_SUGGESTED = 20
#: Cookie by which a client is told from others where pages have troubles.
CLIENT_COOKIE = "client"


@dataclass(frozen=True, slots=True)
class PageRules:
    """How all merchants' pages are laid out.

    seed         of what is recommended where
    promotions   by merchant
    list_prices  False: a price is only told on the product's own page
    troubles     None for pages as they should be
    """

    seed: int = 0
    promotions: dict[str, Promotion] = field(default_factory=dict)
    list_prices: bool = True
    troubles: Troubles | None = None


class Storefront:
    """Routes of the storefront. ``shows_visitor``: pages ask ``/api/visitor`` who the stream takes the visitor for."""

    def __init__(self, shops: Shops, rules: PageRules | None = None, shows_visitor: bool = False) -> None:
        self._shops = shops
        self._rules = rules or PageRules()
        self._shows_visitor = shows_visitor
        templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
        templates.filters["segment"] = segment_of
        self._page = templates.get_template("shop.html")

    def routes(self) -> list[Route]:
        """Return the pages, coarse to fine."""
        return [
            Route("/shop", self._front),
            Route("/shop/{merchant}", self._home),
            Route("/shop/{merchant}/collection/{category:path}", self._collection),
            Route("/shop/{merchant}/search", self._search),
            Route("/shop/{merchant}/product/{product_id:path}", self._product),
            Route("/shop/{merchant}/{page:str}", self._step),
        ]

    async def _front(self, request: Request) -> Response:
        return RedirectResponse(f"/shop/{segment_of(self._shops.merchants()[0])}")

    async def _home(self, request: Request) -> Response:
        merchant, displays = self._displays(request)
        if displays is None:
            return _unknown(merchant)
        return await self._render(
            request,
            displays,
            "home",
            event="page_viewed",
            offers=displays.listed(),
            more=displays.departments("home"),
            shops=self._shops.merchants(),
        )

    async def _collection(self, request: Request) -> Response:
        merchant, displays = self._displays(request)
        if displays is None:
            return _unknown(merchant)
        category = request.path_params["category"]
        offers = displays.listed("" if category == "all" else category)
        return await self._render(
            request,
            displays,
            "collection",
            event="collection_viewed",
            offers=offers,
            category="" if category == "all" else category,
            more=displays.departments(category, but=category),
        )

    async def _search(self, request: Request) -> Response:
        merchant, displays = self._displays(request)
        if displays is None:
            return _unknown(merchant)
        query = request.query_params.get("q", "").strip()
        return await self._render(
            request,
            displays,
            "search",
            event="search_submitted",
            offers=displays.listed(query=query) or displays.listed(),
            query=query,
            more=displays.departments(f"search {query}"),
        )

    async def _product(self, request: Request) -> Response:
        merchant, displays = self._displays(request)
        if displays is None:
            return _unknown(merchant)
        product = displays.assortment.by_id.get(request.path_params["product_id"])
        if product is None:
            return PlainTextResponse("This shop does not sell that product.", status_code=404)
        return await self._render(
            request,
            displays,
            "product",
            event="product_viewed",
            offer=displays.offer(product),
            offers=displays.related(product),
            more=displays.departments(product.product_id, but=product.category),
        )

    async def _step(self, request: Request) -> Response:
        merchant, displays = self._displays(request)
        if displays is None:
            return _unknown(merchant)
        page = request.path_params["page"]
        if STEPS.get(page) not in displays.assortment.capabilities.events:
            return PlainTextResponse(f"There is no page {page!r} here.", status_code=404)
        shown: list[Offer] = displays.listed() if page == "cart" else []
        return await self._render(request, displays, page, event=STEPS[page], offers=shown)

    def _displays(self, request: Request) -> tuple[str, Displays | None]:
        merchant = merchant_of(request.path_params["merchant"])
        assortment: Assortment | None = self._shops.of(merchant)
        if assortment is None:
            return merchant, None
        return merchant, Displays(merchant, assortment, self._rules.seed, self._rules.promotions.get(merchant))

    async def _render(self, request: Request, displays: Displays, page: str, **context: Any) -> Response:
        troubles, trouble = self._rules.troubles, Trouble()
        if troubles is not None:
            trouble = troubles.next_page(request.cookies.get(CLIENT_COOKIE, ""))
            await asyncio.sleep(trouble.delay_s)
        can = displays.assortment.capabilities
        priced = can.fills("product_viewed", "price_minor")
        return HTMLResponse(
            self._page.render(
                merchant=displays.merchant,
                page=page,
                has=can.events,
                can=can.events - _lacking(trouble),
                fields=json.dumps({event: sorted(columns) for event, columns in can.fields.items()}),
                events=json.dumps(sorted(can.events)),
                categories=displays.assortment.categories,
                queries=displays.assortment.queries[:_SUGGESTED],
                promotion=displays.promotion,
                priced=priced,
                list_prices=priced and self._rules.list_prices,
                newsletter=trouble.newsletter,
                cookie_banner=troubles is not None and troubles.cookie_banner,
                shows_visitor=self._shows_visitor,
                **context,
            )
        )


_EVENT_OF_ELEMENT = {
    "add": "product_added_to_cart",
    "checkout": "checkout_started",
    "pay": "payment_info_submitted",
    "order": "checkout_completed",
    "search": "search_submitted",
    "nav": "collection_viewed",
}


def _lacking(trouble: Trouble) -> frozenset[str]:
    return frozenset(_EVENT_OF_ELEMENT[element] for element in trouble.missing)


def _unknown(merchant: str) -> Response:
    return PlainTextResponse(f"No shop is called {merchant!r}.", status_code=404)

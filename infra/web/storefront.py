"""The demo storefront: plain pages over a merchant's catalogue whose pixel sends every step to the gateway."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.web.catalogue import Shops
from infra.web.gateway import Gateway
from infra.web.readings import Readings

_TEMPLATES = Path(__file__).with_name("static")
_SHOWN = 24


class Storefront:
    """Routes of the storefront. ``readings`` and ``gateway`` answer "who does the stream think I am?"."""

    def __init__(self, shops: Shops, readings: Readings, gateway: Gateway) -> None:
        self._shops = shops
        self._readings = readings
        self._gateway = gateway
        self._page = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True).get_template("shop.html")

    def routes(self) -> list[Route]:
        """Return the pages, coarse to fine, and the visitor's own assignment."""
        return [
            Route("/shop", self._front),
            Route("/shop/{merchant}", self._home),
            Route("/shop/{merchant}/collection/{category}", self._collection),
            Route("/shop/{merchant}/search", self._search),
            Route("/shop/{merchant}/product/{product_id}", self._product),
            Route("/shop/{merchant}/{page:str}", self._step),
            Route("/api/visitor/{merchant}/{client_id}", self._visitor),
        ]

    def _render(self, merchant: str, page: str, **context: Any) -> Response:
        if merchant not in self._shops.merchants():
            return HTMLResponse(f"No shop is called {merchant!r}.", status_code=404)
        return HTMLResponse(
            self._page.render(merchant=merchant, page=page, categories=self._shops.categories(merchant), **context)
        )

    async def _front(self, request: Request) -> Response:
        return RedirectResponse(f"/shop/{self._shops.merchants()[0]}")

    async def _home(self, request: Request) -> Response:
        merchant = request.path_params["merchant"]
        products = self._shops.products(merchant)[:_SHOWN]
        return self._render(merchant, "home", event="page_viewed", products=products, shops=self._shops.merchants())

    async def _collection(self, request: Request) -> Response:
        merchant, category = request.path_params["merchant"], request.path_params["category"]
        products = self._shops.products(merchant, category=category)[:_SHOWN]
        return self._render(merchant, "collection", event="collection_viewed", products=products, category=category)

    async def _search(self, request: Request) -> Response:
        merchant, query = request.path_params["merchant"], request.query_params.get("q", "").strip()
        products = self._shops.products(merchant, query=query)[:_SHOWN]
        return self._render(merchant, "search", event="search_submitted", products=products, query=query)

    async def _product(self, request: Request) -> Response:
        merchant = request.path_params["merchant"]
        product = self._shops.product(merchant, request.path_params["product_id"])
        if product is None:
            return HTMLResponse("This shop does not sell that product.", status_code=404)
        return self._render(merchant, "product", event="product_viewed", product=product)

    async def _step(self, request: Request) -> Response:
        event_of_page = {"cart": "cart_viewed", "checkout": "checkout_started", "thanks": "checkout_completed"}
        page = request.path_params["page"]
        if page not in event_of_page:
            return HTMLResponse(f"There is no page {page!r} here.", status_code=404)
        return self._render(request.path_params["merchant"], page, event=event_of_page[page])

    async def _visitor(self, request: Request) -> Response:
        merchant = request.path_params["merchant"]
        pseudonym = self._gateway.pseudonym(merchant, request.path_params["client_id"])
        session = await run_in_threadpool(self._readings.client_session, merchant, pseudonym)
        return JSONResponse(session or {"events": 0})

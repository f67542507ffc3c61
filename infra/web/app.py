"""One web process: the dashboard at /, the gateway at /collect, the demo storefront at /shop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from infra.web.catalogue import Shops
from infra.web.dashboard import Dashboard
from infra.web.gateway import Gateway
from infra.web.readings import Readings
from infra.web.storefront import Storefront
from infra.web.visitor import Visitor
from schemas.settings import Settings

#: Style sheet, scripts and templates.
STATIC = Path(__file__).with_name("static")


def build_web(settings: Settings) -> Starlette:
    """Return the app; it starts without broker or store and says so on its pages until they answer.

    The storefront is there only when ``settings.catalogue`` names a file, else a sentence that says so stands in its
    place; CatalogueError if the file is unreadable.
    """
    readings = Readings(settings.clickhouse)
    gateway = Gateway(settings.kafka, settings.pseudonym_secret)
    dashboard = Dashboard(readings, settings.kafka, settings.group)
    routes = [
        *dashboard.routes(),
        *gateway.routes(),
        Route("/health", _health),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    if settings.catalogue is None:
        routes += [Route("/shop", _no_shop), Route("/shop/{page:path}", _no_shop)]
    else:
        shops = Shops.read(settings.catalogue, settings.storefronts)
        routes += [*Storefront(shops, shows_visitor=True).routes(), *Visitor(readings, gateway).routes()]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        gateway.close()
        dashboard.close()

    return Starlette(routes=routes, lifespan=lifespan)


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_shop(request: Request) -> Response:
    return PlainTextResponse(
        "There is no storefront: start the web pages with SIMPERSONA_CATALOGUE naming a catalogue file "
        "(`simpersona generate` writes one).",
        status_code=404,
    )

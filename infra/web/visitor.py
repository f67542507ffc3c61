"""Who the stream takes a visitor of the storefront for."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.web.gateway import Gateway
from infra.web.readings import Readings


class Visitor:
    """The route that answers with a visitor's newest assignment."""

    def __init__(self, readings: Readings, gateway: Gateway) -> None:
        self._readings = readings
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """Return the one route."""
        return [Route("/api/visitor/{merchant}/{client_id}", self._visitor)]

    async def _visitor(self, request: Request) -> Response:
        merchant = request.path_params["merchant"]
        pseudonym = self._gateway.pseudonym(merchant, request.path_params["client_id"])
        session = await run_in_threadpool(self._readings.client_session, merchant, pseudonym)
        return JSONResponse(session or {"events": 0})

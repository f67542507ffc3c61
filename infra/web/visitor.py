"""Who the stream takes a visitor of the storefront for."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.errors import StoreUnreachableError
from infra.web.gateway import Gateway
from infra.web.readings import Readings


class Visitor:
    """The route that answers with a visitor's newest assignment, or 503 with a sentence while the store is away."""

    def __init__(self, readings: Readings, gateway: Gateway) -> None:
        self._readings = readings
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """Return the one route."""
        return [Route("/api/visitor", self._visitor)]

    async def _visitor(self, request: Request) -> Response:
        merchant = request.query_params.get("merchant", "")
        pseudonym = self._gateway.pseudonym(merchant, request.query_params.get("client", ""))
        try:
            session = await run_in_threadpool(self._readings.client_session, merchant, pseudonym)
        except StoreUnreachableError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        return JSONResponse(session or {"events": 0})

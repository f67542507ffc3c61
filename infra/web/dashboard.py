"""The live page and the JSON it asks for every two seconds."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from infra.errors import BrokerUnreachableError, StoreUnreachableError
from infra.web.progress_watch import ProgressWatch
from infra.web.readings import Readings

_PAGE = Path(__file__).with_name("static") / "dashboard.html"
WINDOWS = ("1m", "5m", "1h", "1d")


class Dashboard:
    """Routes of the live page. One thread reads the store, so that a slow one never stalls the page's server."""

    def __init__(self, readings: Readings, bootstrap: str, group: str) -> None:
        self._readings = readings
        self._progress = ProgressWatch(bootstrap, group)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readings")

    def routes(self) -> list[Route]:
        """Return the page and its two questions."""
        return [
            Route("/", self._page),
            Route("/api/overview", self._overview),
            Route("/api/merchant", self._merchant),
        ]

    async def _page(self, request: Request) -> Response:
        return FileResponse(_PAGE)

    async def _answer(self, question: Any, *arguments: object) -> Response:
        """Run a blocking question in the reading thread; 503 with a sentence while the store is away."""
        loop = asyncio.get_running_loop()
        try:
            return JSONResponse(await loop.run_in_executor(self._thread, question, *arguments))
        except StoreUnreachableError as error:
            return JSONResponse({"error": str(error)}, status_code=503)

    async def _overview(self, request: Request) -> Response:
        return await self._answer(self._read_overview)

    async def _merchant(self, request: Request) -> Response:
        merchant_id = request.query_params.get("id", "")
        if not merchant_id:
            return JSONResponse({"error": "Name a merchant: /api/merchant?id=…"}, status_code=400)
        window = request.query_params.get("window", "1h")
        if window not in WINDOWS:
            return JSONResponse({"error": f"window={window!r} is none of {', '.join(WINDOWS)}"}, status_code=400)
        return await self._answer(self._read_merchant, merchant_id, window)

    def _read_overview(self) -> dict[str, Any]:
        return {
            "merchants": self._readings.merchants(),
            "totals": self._readings.totals(),
            "rejections": self._readings.rejections(),
            "drifts": self._readings.drifts(),
            "progress": self._read_progress(),
        }

    def _read_progress(self) -> dict[str, Any]:
        try:
            progress = self._progress.latest()
        except BrokerUnreachableError as error:
            return {"error": str(error)}
        return {
            "produced": progress.produced,
            "committed": progress.committed,
            "lag": progress.lag,
            "events_per_s": round(progress.events_per_s, 1),
        }

    def close(self) -> None:
        """End the reading in the background."""
        self._progress.close()

    def _read_merchant(self, merchant_id: str, window: str) -> dict[str, Any]:
        version = self._readings.codebook_version(merchant_id)
        return {
            "merchant_id": merchant_id,
            "codebook_version": version,
            "mix": self._readings.mix_over_time(merchant_id, version, window),
            "latest": self._readings.latest_mix(merchant_id),
            "drifts": self._readings.drifts(merchant_id),
            "personas": self._readings.personas(version),
        }

"""The live page and the JSON it asks for every two seconds."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from kafka.errors import KafkaError
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from infra.errors import StoreUnreachableError
from infra.web.progress import ProgressMeter
from infra.web.readings import Readings

_PAGE = Path(__file__).with_name("static") / "dashboard.html"
WINDOWS = ("1m", "5m", "1h", "1d")


class Dashboard:
    """Routes of the live page. One thread does the reading, so that a slow store never stalls the page's server."""

    def __init__(self, readings: Readings, bootstrap: str, group: str) -> None:
        self._readings = readings
        self._bootstrap = bootstrap
        self._group = group
        self._meter: ProgressMeter | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readings")

    def routes(self) -> list[Route]:
        """Return the page and its two questions."""
        return [
            Route("/", self._page),
            Route("/api/overview", self._overview),
            Route("/api/merchant/{merchant_id}", self._merchant),
        ]

    async def _page(self, request: Request) -> Response:
        return FileResponse(_PAGE)

    async def _answer(self, question: Any, *arguments: object) -> Response:
        """Run a blocking question in the reading thread; 503 with a sentence while the store or broker is away."""
        loop = asyncio.get_running_loop()
        try:
            return JSONResponse(await loop.run_in_executor(self._thread, question, *arguments))
        except (ClickHouseError, StoreUnreachableError) as error:
            return JSONResponse({"error": f"The store does not answer: {str(error).splitlines()[0]}"}, status_code=503)

    async def _overview(self, request: Request) -> Response:
        return await self._answer(self._read_overview)

    async def _merchant(self, request: Request) -> Response:
        window = request.query_params.get("window", "1h")
        if window not in WINDOWS:
            return JSONResponse({"error": f"window={window!r} is none of {', '.join(WINDOWS)}"}, status_code=400)
        return await self._answer(self._read_merchant, request.path_params["merchant_id"], window)

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
            if self._meter is None:
                self._meter = ProgressMeter(self._bootstrap, self._group)
            progress = self._meter.read(time.monotonic())
        except KafkaError as error:
            return {"error": f"The broker does not answer: {error}"}
        return {
            "produced": progress.produced,
            "committed": progress.committed,
            "lag": progress.lag,
            "events_per_s": round(progress.events_per_s, 1),
        }

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

"""The demo storefront by itself on loopback, for simulated shoppers: no broker, no store, nothing that outlives it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from infra.errors import ServiceFailedError
from infra.stack.ports import LOOPBACK, claim_port
from infra.web.app import STATIC
from infra.web.catalogue import Shops
from infra.web.storefront import PageRules, Storefront

_READY_WITHIN_S, _POLL_S = 20.0, 0.01


@contextmanager
def storefront_alone(shops: Shops, rules: PageRules | None = None) -> Iterator[str]:
    """Serve the storefront in a thread and yield its address. Raises ServiceFailedError when it does not come up."""
    port = claim_port(0, "--port")
    app = Starlette(routes=[*Storefront(shops, rules).routes(), Mount("/static", StaticFiles(directory=STATIC))])
    config = uvicorn.Config(app, host=LOOPBACK, port=port, log_level="error", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="storefront", daemon=True)
    thread.start()
    give_up_s = time.monotonic() + _READY_WITHIN_S
    try:
        while not server.started:
            if not thread.is_alive() or time.monotonic() > give_up_s:
                raise ServiceFailedError(f"The storefront does not come up on port {port}; try again.")
            time.sleep(_POLL_S)
        yield f"http://{LOOPBACK}:{port}/shop"
    finally:
        server.should_exit = True
        thread.join(_READY_WITHIN_S)

"""``python -m infra.web --port N``: serve the web pages in the foreground."""

import argparse

import uvicorn

from infra.one_sentence import one_sentence
from infra.web.app import build_web
from schemas.settings import settings
from streams.log_lines import announce, configure_logging

parser = argparse.ArgumentParser(prog="python -m infra.web", description=__doc__)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, required=True)
arguments = parser.parse_args()
with one_sentence():
    chosen = settings()
    configure_logging(chosen.log_format)
    web = build_web(chosen)
announce(f"Web pages and gateway begin at port {arguments.port}.", port=arguments.port)
# Without a configuration of its own, so that its lines look like all others.
uvicorn.run(web, host=arguments.host, port=arguments.port, log_config=None, log_level="warning", access_log=False)

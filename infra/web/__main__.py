"""``python -m infra.web --port N``: serve the web pages in the foreground."""

import argparse

import uvicorn

from infra.web.app import build_web
from schemas.settings import settings

parser = argparse.ArgumentParser(prog="python -m infra.web", description=__doc__)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, required=True)
arguments = parser.parse_args()
uvicorn.run(build_web(settings()), host=arguments.host, port=arguments.port, log_level="warning", access_log=False)

"""``simpersona worker``: one stream worker."""

import os
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.limits import PORT_MAX

app = typer.Typer()


@app.command()
def worker(
    encoder: Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")] = None,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=PORT_MAX, help="Port of /health and /metrics, 0 picks one [SIMPERSONA_HEALTH_PORT]."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log what the worker does, not only what goes wrong.")
    ] = False,
) -> None:
    """Run one stream worker until Ctrl-C: clicks from Kafka in, buyer types to Kafka and ClickHouse out.

    Run as many as there are partitions; they share the work between them. Broker, store and encoder are those of the
    settings and are checked first.

    Example: simpersona worker --encoder .simpersona/encoder --health-port 8091
    """
    # Each worker is one core's work; must be set before numpy is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from schemas.settings import settings
    from streams.log_lines import announce, configure_logging
    from streams.worker import run

    given = {"encoder": encoder, "health_port": health_port}
    chosen = settings().model_copy(update={name: value for name, value in given.items() if value is not None})
    configure_logging(chosen.log_format, verbose)
    run(chosen, ready=lambda port: announce(f"Worker is ready, health page on port {port}.", port=port))


if __name__ == "__main__":
    app()

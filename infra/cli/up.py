"""``simpersona up``: the embedded broker, store and web pages in the foreground."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.limits import PORT_MAX

if TYPE_CHECKING:
    from rich.console import Console

    from infra.stack.stack import Addresses

app = typer.Typer()


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Folder of store, artefacts and logs; kept between runs.")] = Path(
        ".simpersona"
    ),
    ready_file: Annotated[
        Path | None, typer.Option(help="JSON file of the addresses, written once all of them answer.")
    ] = None,
    kafka_port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the broker, 0 picks one.")] = 0,
    clickhouse_port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the store, 0 picks one.")] = 0,
    web_port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the web pages, 0 picks one.")] = 0,
) -> None:
    """Start the embedded broker, store and web pages and keep them running until Ctrl-C.

    The store keeps its tables in the data folder. The broker keeps everything in memory, within
    SIMPERSONA_BROKER_MEMORY_MB, and forgets it at the end.

    Example: simpersona up --data-dir .simpersona --ready-file ready.json --kafka-port 9092
    """
    from dataclasses import asdict

    from rich.console import Console

    from infra.cli.outputs import claim
    from infra.stack.stack import Ports, start_stack
    from infra.stack.supervisor import Supervisor
    from schemas.settings import settings
    from streams.log_lines import announce, configure_logging

    claim({"--ready-file": ready_file})
    chosen = settings()
    configure_logging(chosen.log_format)
    console = Console(stderr=True)
    ports = Ports(kafka_port, clickhouse_port, web_port)
    with Supervisor(data_dir) as supervisor:
        if ready_file is not None:
            # Whoever waits for it must not find the one of a run that was killed.
            ready_file.unlink(missing_ok=True)
        with console.status("starting") as status:
            addresses = start_stack(supervisor, chosen, ports, report=lambda phase: status.update(f"{phase} …"))
        if chosen.log_format == "json":
            announce("simpersona is up; SIGTERM or Ctrl-C ends it.", **asdict(addresses))
        else:
            _show(addresses, data_dir, console)
        try:
            if ready_file is not None:
                addresses.write(ready_file)
            supervisor.watch()
        except KeyboardInterrupt:
            announce("Stopping.")
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


def _show(addresses: "Addresses", data_dir: Path, console: "Console") -> None:
    from rich.table import Table

    table = Table("part", "address", title="simpersona is up; Ctrl-C ends it")
    table.add_row("Kafka", f"{addresses.kafka}  (embedded, in memory only: its records go when it ends)")
    table.add_row("ClickHouse", f"{addresses.clickhouse}  (embedded, kept in {data_dir})")
    table.add_row("dashboard", addresses.dashboard)
    table.add_row("gateway", addresses.gateway)
    table.add_row("storefront", addresses.storefront or "none: SIMPERSONA_CATALOGUE names no catalogue")
    console.print(table)
    console.print("For other commands:", style="dim")
    for name, value in addresses.environment().items():
        console.print(f"export {name}={value}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    app()

"""``simpersona migrate``: ClickHouse tables and Kafka topics, brought up to date."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate(
    clickhouse: Annotated[str | None, typer.Option(help="ClickHouse URL [SIMPERSONA_CLICKHOUSE].")] = None,
    kafka: Annotated[str | None, typer.Option(help="Kafka bootstrap servers [SIMPERSONA_KAFKA].")] = None,
    topics: Annotated[bool, typer.Option(help="Create the Kafka topics too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Apply the numbered SQL files that were not applied yet and create the Kafka topics that are missing.

    Running it again changes nothing.

    Example: simpersona migrate --clickhouse http://default@127.0.0.1:8123/simpersona --kafka 127.0.0.1:9092
    """
    import asyncio
    import json

    from rich.console import Console

    from infra.stack.clickhouse import database_of
    from infra.stack.kafka_address import require_kafka
    from infra.stack.migrate import migrate as apply
    from schemas.settings import settings
    from streams.broker.topology import ensure_topics

    chosen = settings()
    url, bootstrap = clickhouse or chosen.clickhouse, kafka or chosen.kafka
    if topics:
        # Asked before anything is changed.
        require_kafka(bootstrap)
    applied = [migration.name for migration in apply(url)]
    partitions = asyncio.run(ensure_topics(bootstrap, chosen.partitions, chosen.replication)) if topics else {}
    if as_json:
        print(json.dumps({"database": database_of(url), "applied": applied, "topics": partitions}))
        return
    console = Console()
    console.print(
        f"Database {database_of(url)}: {', '.join(applied) or 'nothing to apply, it is up to date'}.", soft_wrap=True
    )
    for topic, count in partitions.items():
        console.print(f"Topic {topic}: {count} partitions.")


if __name__ == "__main__":
    app()

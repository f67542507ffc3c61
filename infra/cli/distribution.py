"""``simpersona distribution``: a merchant's latest mix of buyer types."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def distribution(
    merchant: Annotated[str, typer.Option(help="Merchant whose mix is wanted.")],
    window: Annotated[str, typer.Option(help="decayed (the current mix), 1m, 5m, 1h or 1d.")] = "decayed",
    at: Annotated[
        str | None, typer.Option(help="ISO 8601 time; the newest mix that began by then. UTC unless it says otherwise.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the mix as JSON.")] = False,
) -> None:
    """Show a merchant's mix of buyer types with the personas' names, how much it rests on, and where it drifted.

    Live final sessions only. n_effective is the number of equally weighted sessions that the mix is worth.

    Example: simpersona distribution --merchant shop-3 --window 1d --at 2026-09-08T12:00:00Z --json
    """
    import json
    import time
    from dataclasses import asdict
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    from infra.errors import ArgumentError
    from schemas.settings import settings
    from streams.store.connection import Store
    from streams.store.mix_query import WINDOWS, merchant_mix

    if window not in WINDOWS:
        raise ArgumentError(f"--window {window!r} is no window; choose one of {', '.join(WINDOWS)}.")
    try:
        moment = datetime.fromisoformat(at) if at is not None else None
    except ValueError as error:
        raise ArgumentError(f"--at {at!r} is no ISO 8601 time; write it like 2026-09-08T12:00:00Z.") from error
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    at_ms = int(moment.timestamp() * 1000) if moment is not None else time.time_ns() // 1_000_000

    store = Store(settings().clickhouse, patience_s=0.0)
    mix = merchant_mix(store, merchant, window, at_ms)
    store.close()

    def iso(time_ms: int) -> str:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    if as_json:
        answer = asdict(mix)
        answer["window_start"] = iso(answer.pop("window_start_ms"))
        for mark in answer["drifts"]:
            mark["detected_at"] = iso(mark.pop("detected_ms"))
            mark["details"] = json.loads(mark["details"])
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    console = Console()
    table = Table(
        title=f"{mix.merchant_id}: {mix.window} mix, {iso(mix.window_start_ms)}, codebook {mix.codebook_version}"
    )
    table.add_column("type")
    table.add_column("persona")
    table.add_column("share", justify="right")
    table.add_column("sessions", justify="right")
    for share in mix.shares:
        table.add_row(share.code_path or str(share.code), share.persona, f"{share.weight:.1%}", str(share.sessions))
    console.print(table)
    console.print(f"{mix.sessions} sessions, n_effective {mix.n_effective:.1f}")
    paths = {share.code: share.code_path for share in mix.shares}
    for mark in mix.drifts:
        moved = ", ".join(
            f"{paths.get(mover['code']) or mover['code']}: {mover['before']:.0%} → {mover['now']:.0%}"
            for mover in json.loads(mark.details)["movers"]
        )
        console.print(
            f"drift {iso(mark.detected_ms)}: {mark.statistic:.3f} nats over {mark.threshold:.3f} ({moved})",
            highlight=False,
        )


if __name__ == "__main__":
    app()

"""``simpersona bench``: measure, beside the peers."""

import typer

from infra.cli.bench_align import align
from infra.cli.bench_browser import browser
from infra.cli.bench_encoder import adapt, drift, encoder, real
from infra.cli.bench_simulated import follow, round_trip, simulate
from infra.cli.bench_stream import latency, state, stream
from infra.cli.bench_tasks import tasks
from infra.cli.bench_variants import variants

app = typer.Typer(no_args_is_help=True, help="Measure, beside the peers, and print figures as JSON.")

for command in (
    stream,
    latency,
    state,
    encoder,
    adapt,
    real,
    drift,
    align,
    simulate,
    round_trip,
    follow,
    variants,
    tasks,
    browser,
):
    app.command()(command)

"""``simpersona doctor``: what is wrong and what to do."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

#: Something is broken, as opposed to exit code 2 for bad input.
UNWELL = 1


@app.command()
def doctor(
    encoder: Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check broker, topics, workers, store, migrations, clocks, schemas, encoder and disk, and say what to do.

    Nothing is changed. Where records wait, it watches for some seconds whether workers read them. The exit code is 1
    when a check failed, 0 when all is well or merely worth a warning.

    Example: simpersona doctor --encoder .simpersona/encoder
    """
    import json
    import logging
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from infra.stack.checkup import examine
    from infra.stack.finding import Verdict
    from schemas.settings import settings

    # What clients log about a broker that is away is found and said once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    chosen = settings() if encoder is None else settings().model_copy(update={"encoder": encoder})
    findings = examine(chosen)
    well = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if as_json:
        print(json.dumps({"well": well, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red", Verdict.SKIPPED: "dim"}
        table = Table("check", "")
        table.add_column("found", overflow="fold")
        table.add_column("what to do", overflow="fold")
        for finding in findings:
            verdict = f"[{colours[finding.verdict]}]{finding.verdict}[/]"
            table.add_row(finding.check, verdict, escape(finding.found), escape(finding.remedy))
        Console().print(table)
    if not well:
        raise typer.Exit(UNWELL)


if __name__ == "__main__":
    app()

"""Which options of ``simpersona simulate`` go together: said before anything is loaded."""

import typer

from infra.cli.given import given, take_only
from infra.cli.simulate_adapted import ADAPTED
from infra.errors import ArgumentError

#: What decides how a run is played and what becomes of it; a manifest decides the rest.
_REPEATED = {"manifest", "model", "events", "storefronts", "threads", "out", "json_file"}
#: What stands in the manifest and may be said again, as long as it is the same.
TOLD = ("merchant", "buyers", "seed", "backend")
#: What a run does that a trial of a change does not: send, wait, be written down, ask an endpoint.
_SENT = {"out", "wait", "yes"}


def check_asked(context: typer.Context) -> None:
    """Raise ArgumentError, or VariantError where it is about a change to try, when options do not go together."""
    from agent_runtime.errors import VariantError

    typed = given(context)
    if "variant" not in typed and typed.keys() & {"html", "assignments"}:
        raise VariantError("--html and --assignments go with --variant; name the file of the change to try.")
    if {"at", "assignments"} <= typed.keys():
        raise ArgumentError("--at asks the store for a mix, and --assignments is the mix; leave one of them out.")
    if "steps" in typed and "browser" not in typed:
        raise ArgumentError("--steps tells of pages, and without --browser there are none; add --browser.")
    if "adapt" in typed and "events" not in typed:
        raise ArgumentError("--adapt learns from the storefront's own sessions; show them with --events.")
    elsewhere = typed.keys() & {"browser", "variant"}
    if "adapt" in typed and (elsewhere or context.params["backend"] not in ADAPTED):
        raise ArgumentError(
            f"--adapt fits one of {', '.join(ADAPTED)} to --events, for a crowd in process; it does not go with "
            "--browser or --variant."
        )
    if {"variant", "browser"} <= typed.keys():
        raise VariantError("--variant plays both storefronts in process; leave --browser out.")
    if "variant" in typed and context.params["backend"] == "replay":
        raise VariantError(
            "--backend replay does what real shoppers did and cannot answer to a change; take local or markov."
        )
    if "manifest" in typed:
        take_only(context, "--manifest", {*_REPEATED, *TOLD})
    if "variant" in typed:
        take_only(context, "--variant", context.params.keys() - _SENT)

"""``simpersona simulate --manifest``: a run repeated exactly, and the file in which its clicks can be compared."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runtime.crowds.simulation import Plan
    from agent_runtime.simulators.simulator import Simulator
    from agent_runtime.storefront.session import PlayedSession
    from agent_runtime.storefront.shop import Shop
    from agent_runtime.walk.played import Played


def again(
    manifest: Path,
    simulator: "Simulator",
    shop_of: Callable[[str, int], "Shop"],
    threads: int,
    out: Path | None,
    said: Mapping[str, object],
) -> dict[str, Any]:
    """Play a manifest's run again and return what it came to; write its clicks if a file is named.

    shop_of  returns the storefront of a merchant as a session gap cuts it
    said     options that the manifest has too, with their values: --merchant, --buyers, --seed, --backend

    Raises PopulationError when the file is no manifest, ArgumentError when its run is not the one that was said,
    ModelError or ShopError when simulator or storefront differ.
    """
    from agent_runtime.crowds.simulation import simulate
    from agent_runtime.errors import ModelError
    from infra.cli.simulate_endpoint import OPENAI
    from infra.errors import ArgumentError

    plan = read_plan(manifest)
    ran = {
        "--merchant": plan.mix.merchant_id,
        "--buyers": plan.buyers,
        "--seed": plan.seed,
        "--backend": plan.backend,
    }
    for option, value in said.items():
        if value != ran[option]:
            raise ArgumentError(
                f"{manifest}: its run had {option} {ran[option]}, not {value}; leave {option} out to repeat it."
            )
    shop = shop_of(plan.mix.merchant_id, plan.gap_ms)
    plan.check(simulator.version, shop)
    if plan.backend == OPENAI:
        raise ModelError(f"{manifest}: its buyers were played by an endpoint, which no manifest can repeat.")
    began = time.perf_counter()
    played = simulate(plan, simulator.vocabulary, simulator.backend(plan.backend), shop, threads=threads)
    seconds = time.perf_counter() - began
    if out is not None:
        written(out, plan, shop, played.sessions)
    return told(plan, played.sessions, len(played.clicks), seconds) | crowd_figures(played)


def read_plan(path: Path) -> "Plan":
    """Return the plan in a manifest's file, or in the file of ``simulate --json``. Raises PopulationError."""
    from agent_runtime.crowds.simulation import Plan
    from agent_runtime.errors import PopulationError

    try:
        value = json.loads(path.read_text())
        return Plan.of(value.get("manifest", value))
    except (OSError, ValueError, AttributeError) as error:
        raise PopulationError(
            f"{path}: no manifest of a run ({error}); name a file that `simpersona simulate --json` wrote."
        ) from error
    except PopulationError as error:
        raise PopulationError(f"{path}: {error}") from error


def written(out: Path, plan: "Plan", shop: "Shop", sessions: "Sequence[PlayedSession]") -> None:
    """Write a run's clicks as an event log, in event-time order. Raises EventLogError when that cannot be done."""
    from agent_runtime.crowds.click_log import write_clicks
    from agent_runtime.crowds.simulation import clicks_of

    write_clicks(out, clicks_of(plan, shop, sessions))


def crowd_figures(played: "Played") -> dict[str, Any]:
    """Return what is known of a crowd that was played in process, for the command's result."""
    return {"clicks_sha256": played.fingerprint, "masked_mass": played.masked_mass}


def told(plan: "Plan", sessions: "Sequence[PlayedSession]", clicks: int, seconds: float) -> dict[str, Any]:
    """Return a run's result: what is printed and written as JSON."""
    outcomes = [session.outcome for session in sessions]
    return {
        "run_id": plan.run_id,
        "merchant": plan.mix.merchant_id,
        "backend": plan.backend,
        "sessions": len(outcomes),
        "clicks": clicks,
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "sessions_per_s": len(outcomes) / seconds,
        "manifest": json.loads(plan.to_json()),
    }

"""What ``simpersona simulate --variant`` does: a storefront with and without a change, the same shoppers, a report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runtime.crowds.simulation import Plan
    from agent_runtime.simulators.simulator import Simulator
    from agent_runtime.storefront.shop import Shop
    from agent_runtime.variants.effects import Effect
    from agent_runtime.variants.variant import Variant


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the report goes; None for nowhere."""

    json_file: Path | None
    html_file: Path | None


def run_variant(
    simulator: "Simulator", variant: "Variant", plan: "Plan", shop: "Shop", names: Mapping[str, str], asked: Asked
) -> None:
    """Play both storefronts, print the effects and write the reports. Nothing is sent to the stream or the store.

    names  persona -> what it is called. Raises VariantError when the variant cannot be tried, ModelError when the mix
    is of another codebook.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agent_runtime.crowds.simulation import check_codebooks
    from agent_runtime.variants.page import page
    from agent_runtime.variants.trial import crowd_of, try_variant, visits_of
    from agent_runtime.walk.rollout import Span
    from infra.cli.outputs import write_json, write_text

    check_codebooks(simulator.vocabulary, plan.mix)
    crowd = crowd_of(
        simulator.backend(plan.backend),
        simulator.vocabulary,
        simulator.response() if plan.backend == "local" else None,
        plan.mix,
        plan.buyers,
        Span(plan.start_ms, plan.start_ms + plan.span_ms),
        plan.seed,
        plan.gap_ms,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"buyers at {shop.merchant_id}", total=visits_of(crowd))
        found = try_variant(crowd, shop, variant, done=lambda count: bar.advance(task, count))
    title = f"{variant.name} at {shop.merchant_id}"
    facts = (
        f"{variant.words()}. {plan.buyers:,} simulated shoppers, each in both storefronts with the same random "
        f"numbers, {'once' if crowd.rounds == 1 else f'{crowd.rounds} times'} (seed {plan.seed}); mix of codebook "
        f"{plan.mix.codebook_version}, simulator {plan.simulator_version}."
    )
    _print(title, found, names, shop.currency)
    write_json(asked.json_file, _as_json(variant, plan, found, names))
    if asked.html_file is not None:
        write_text(asked.html_file, page(title, facts, found, names, shop.currency))


def persona_names(folder: Path, codebook_version: str) -> dict[str, str]:
    """Return what the encoder calls its coarse types; nothing when it is not there or of another codebook."""
    from encoders.artefact import read_personas
    from encoders.errors import ArtefactError

    try:
        told = read_personas(folder)
    except ArtefactError:  # names are a courtesy: a simulator can be used without its encoder
        return {}
    return (
        {one["code_path"]: one["name"] for one in told["coarse"]}
        if told["codebook_version"] == codebook_version
        else {}
    )


def _as_json(variant: "Variant", plan: "Plan", found: "Sequence[Effect]", names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "variant": variant.to_json(),
        "words": variant.words(),
        "merchant": plan.mix.merchant_id,
        "buyers": plan.buyers,
        "effects": [
            asdict(effect)
            | {"difference": effect.difference, "relative": effect.relative, "name": names.get(effect.persona)}
            for effect in found
        ],
        "manifest": json.loads(plan.to_json()),
    }


def _print(title: str, found: "Sequence[Effect]", names: Mapping[str, str], currency: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from agent_runtime.variants.effects import OVERALL
    from agent_runtime.variants.page import TITLES, amount

    table = Table("persona", "measure", "control", "variant", "difference", "95 %", title=title)
    for effect in found:
        whole = effect.persona == OVERALL
        if not (whole or effect.is_clear):
            continue
        low, high = (amount(effect.measure, end, currency, signed=True) for end in (effect.low, effect.high))
        table.add_row(
            "all shoppers" if whole else f"{effect.persona} {names.get(effect.persona, '')}".strip(),
            TITLES[effect.measure],
            amount(effect.measure, effect.control, currency),
            amount(effect.measure, effect.variant, currency),
            amount(effect.measure, effect.difference, currency, signed=True),
            f"{low} to {high}",
            style="bold" if whole else "",
        )
    console = Console()
    console.print(table)
    console.print("Personas are shown where their interval leaves out zero; the reports have all.", highlight=False)

"""The model card of an encoder (Mitchell et al. 2019, arXiv 1810.03993), as a page and as Markdown.

What it was trained on, how good it is, what its types are, and what it is not for: computed, not written by hand. Only
training makes it; what serves an encoder loads neither this module nor what draws its figures.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from encoders.card_facts import CardFacts, card_facts, largest
from encoders.card_figures import figures, type_colours
from encoders.fitting import FittedEncoder
from encoders.personas import SURE_SESSIONS
from encoders.serving import Encoder
from encoders.sessionise import SessionLog

HTML_FILE, MARKDOWN_FILE = "card.html", "card.md"
_TEMPLATES = Path(__file__).parent
#: Under these the card warns.
_CALIBRATED, _IN_USE, _EVENLY, _LEAST_DAYS = 0.05, 0.95, 0.6, 7.0
#: Commonest types of a merchant that Markdown names, and features by which a type is told apart.
_NAMED_TYPES, _NAMED_FEATURES = 3, 4

#: What the held-out figures of the manifest mean, in the order of the card.
MEANINGS = {
    "held_out_sessions": "sessions the figures below are measured on; training did not see them",
    "held_out_loss": "least training loss on them; comes from the same losses as training",
    "epochs": "passes over the training sessions until it stopped",
    "coarse_codes_in_use": "buyer types that occur",
    "codes_in_use": "full codes that occur",
    "coarse_perplexity": "buyer types in effect: as many equally common ones would be as diverse",
    "perplexity": "full codes in effect",
    "same_buyer_agreement": "two successive sessions of one buyer share their type so often",
    "same_buyer_chance": "chance alone would make them share it so often",
    "coarse_conversion_explained": "log loss of purchases that knowing the type saves",
    "conversion_explained": "log loss of purchases that knowing the full code saves",
    "calibration_error": "mean gap between confidence and truth, over beginnings of every length",
    "coarse_nmi": "agreement of types with planted ones, 0 to 1",
    "nmi": "agreement of full codes with planted types, 0 to 1",
}
#: What holds for every encoder.
USES = (
    "For: mixes of buyer types per merchant and how they move, dashboards, simulated buyers, tests of storefronts.",
    "Not for: decisions about single persons (prices, credit, access, fraud). A type says how a session went, not who "
    "somebody is; one session tells little, as the table of early codes shows.",
    "It reads event names, pauses, and prices and products relative to the session. Identities of buyer, merchant "
    "and product never enter; hour and device describe types but are not read.",
    "Bots are left out by their mark and by inhuman pace; a bot that takes its time counts as a shopper.",
    "Confidence is calibrated on the merchants of this log. At other merchants types carry over, but check the figures "
    "before relying on them.",
    "Habits change: follow the drift alarms, and renew the codebook with simpersona adapt. A card describes the "
    "training it came from; an adapted encoder has its gate's figures in its manifest instead.",
)


def card_documents(
    fitted: FittedEncoder, training: SessionLog, held_out: SessionLog, fields: Mapping[str, Any]
) -> Callable[[str], Mapping[str, str]]:
    """Return what makes ``card.html`` and ``card.md`` once the codebook version is known; see ``write_artefact``.

    ``fields`` are the manifest's. Equal encoders and data give equal cards: nothing in them tells when they were made.
    """
    encoder = Encoder(fitted.network, fitted.codebook, "unfinished")
    facts = card_facts(encoder, training, held_out, int(fields["seed"]))
    perplexity = float(fitted.metrics["perplexity"])

    def make(version: str) -> Mapping[str, str]:
        shown = {
            "version": version,
            "data": {**fields["training_data"], "days": _days(fields["training_data"])},
            "settings": {**fields["shape"], **fields["options"]},
            "libraries": fields["libraries"],
            "metrics": [(name, _figure(fitted.metrics[name]), text) for name, text in MEANINGS.items()
                        if name in fitted.metrics],
            "types": _types(fitted.personas, fitted.codebook.size // len(fitted.codebook.coarse)),
            "facts": facts,
            "mixes": _mixes(facts, fitted.personas),
            "uses": USES,
            "warnings": _warnings(fitted, fields, facts),
        }  # fmt: skip
        page = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        pictures = figures(facts, encoder.code_paths, perplexity)
        html = page.get_template("card_page.html").render(shown, pictures=pictures)
        text = Environment(loader=FileSystemLoader(_TEMPLATES), trim_blocks=True, lstrip_blocks=True)
        text.filters["cell"] = _cell
        return {HTML_FILE: html + "\n", MARKDOWN_FILE: text.get_template("card_page.md").render(shown) + "\n"}

    return make


def _days(data: Mapping[str, Any]) -> float:
    first, last = (datetime.fromisoformat(data[name]) for name in ("first_event", "last_event"))
    return (last - first).total_seconds() / 86_400


def _types(personas: Mapping[str, Any], fine_size: int) -> list[dict[str, Any]]:
    """Return the coarse types, the commonest first, each with its finer codes."""
    colours = type_colours(len(personas["coarse"]))
    finer: dict[int, list[dict[str, Any]]] = {}
    if fine_size > 1:
        for code in personas["codes"]:
            finer.setdefault(code["coarse"], []).append(code)
    rows = [
        {
            **one,
            "colour": "#" + "".join(f"{round(255 * part):02x}" for part in colours[one["coarse"]][:3]),
            "features": [
                (entry["feature"].replace("log_", "").replace("_", " "), entry["z"])
                for entry in one["distinguishing"][:_NAMED_FEATURES]
            ],
            "finer": sorted(finer.get(one["coarse"], []), key=lambda code: -code["share"]),
        }
        for one in personas["coarse"]
    ]
    return sorted(rows, key=lambda row: -row["share"])


def _mixes(facts: CardFacts, personas: Mapping[str, Any]) -> list[tuple[str, int, bool, str]]:
    names = {one["coarse"]: one["name"] for one in personas["coarse"]}
    return [
        (mix.merchant, mix.sessions, mix.held_out,
         ", ".join(f"{names[kind]} {share:.0%}" for kind, share in largest(mix, _NAMED_TYPES)))
        for mix in facts.mixes
    ]  # fmt: skip


def _warnings(fitted: FittedEncoder, fields: Mapping[str, Any], facts: CardFacts) -> list[str]:
    """Return what the figures say against this encoder, in sentences."""
    metrics, data, size = fitted.metrics, fields["training_data"], fitted.codebook.size
    found = []
    if metrics["calibration_error"] is None or metrics["calibration_error"] > _CALIBRATED:
        found.append(f"Confidence is off by {_figure(metrics['calibration_error'])} on average (aim: {_CALIBRATED}).")
    worst = max(facts.prefixes, key=lambda reading: reading.error, default=None)
    if worst is not None and worst.error > _CALIBRATED:
        found.append(
            f"After {worst.events} events confidence is off by {worst.error:.3f} (aim: {_CALIBRATED}): "
            f"{worst.confidence:.0%} is said, {worst.final:.0%} keep their code."
        )
    if metrics["codes_in_use"] < _IN_USE * size:
        found.append(f"Only {metrics['codes_in_use']} of {size} codes occur: fewer codes would do.")
    if metrics["perplexity"] < _EVENLY * size:
        found.append(f"A few codes hold most sessions: perplexity {metrics['perplexity']:.1f} of {size}.")
    if metrics["same_buyer_agreement"] is None:
        found.append("No buyer came twice: the contrast between buyers, which makes types carry over, did not train.")
    if data["merchants"] < 5:
        found.append(f"Few merchants ({data['merchants']}): whether types carry over to others is not measured here.")
    if _days(data) < _LEAST_DAYS:
        found.append(f"Only {_days(data):.1f} days: weekdays and weekends are not all seen.")
    unsure = [one["code_path"] for one in fitted.personas["codes"] if one["statistics"]["sessions"] < SURE_SESSIONS]
    if unsure:
        found.append(
            f"{len(unsure)} of {size} codes have fewer than {SURE_SESSIONS} sessions: their profiles are rough."
        )
    return found


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"


def _cell(text: object) -> str:
    """Return a text that stays within one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

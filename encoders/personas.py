"""Descriptors of codes, computed from the sessions that have them: numbers, a short name and one sentence.

Nothing is written by hand for a code; only the words below are fixed. Every figure is of finished sessions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.codebook import Codebook
from encoders.feature_spec import CONTEXT_FEATURES, SUMMARY_FEATURES
from encoders.features import described_features
from encoders.sessionise import SessionLog

F64 = npt.NDArray[np.float64]

#: Words for a feature that is high or low; an empty word is never used. (adjective, phrase for the sentence)
WORDS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "log_events": (("deep", "click much"), ("short", "click little")),
    "log_duration": (("lingering", "stay long"), ("brief", "stay briefly")),
    "mean_log_gap": (("unhurried", "pause long between clicks"), ("quick", "click fast")),
    "break_share": (("interrupted", "take breaks"), ("", "")),
    "product_return_share": (("comparing", "return to earlier products"), ("", "")),
    "product_same_share": (("intent", "look at one product again and again"), ("", "")),
    "log_search_submitted": (("searching", "search"), ("", "")),
    "query_refined_share": (("refining", "refine their queries"), ("", "")),
    "log_collection_viewed": (("list-reading", "open product lists"), ("", "")),
    "log_categories": (("roaming", "roam over categories"), ("focused", "keep to one category")),
    "category_switch_share": (("hopping", "hop between categories"), ("", "")),
    "price_below_mean_share": (("thrifty", "go for the cheaper"), ("upmarket", "go for the dearer")),
    "price_trend": (("upgrading", "move to dearer products"), ("downgrading", "move to cheaper products")),
    "price_spread": (("wide-priced", "look at very different prices"), ("narrow-priced", "look at like prices")),
    "log_cart_viewed": (("cart-checking", "check the cart"), ("", "")),
    "log_product_added_to_cart": (("collecting", "fill the cart"), ("", "")),
    "log_product_removed_from_cart": (("wavering", "take things out of the cart"), ("", "")),
    "log_cart_wait": (("hesitant", "wait with the cart"), ("", "")),
    "log_max_quantity": (("bulk", "take several of a thing"), ("", "")),
    "weekend": (("weekend", "come at weekends"), ("weekday", "come on weekdays")),
    "device_mobile": (("mobile", "come by phone"), ("desktop", "come by computer")),
    "referrer_ads": (("ad-led", "come from advertisements"), ("", "")),
    "referrer_email": (("mail-led", "come from e-mail"), ("", "")),
    "referrer_social": (("social", "come from social networks"), ("", "")),
}
#: Standard deviations from the population under which a feature is not worth a word.
NOTABLE = 0.3
#: Features of pauses say nothing where most sessions have fewer events than this.
OF_PAUSES, PAUSED_EVENTS = ("mean_log_gap", "log_duration", "break_share"), 2.0
#: With fewer sessions the figures of a code are called uncertain.
SURE_SESSIONS = 200

#: Codes are described by behaviour and context alike.
_DESCRIBED = (*SUMMARY_FEATURES, *CONTEXT_FEATURES)
_PLACE = {name: index for index, name in enumerate(_DESCRIBED)}


@dataclass(frozen=True, slots=True)
class _Facts:
    """Summaries (n, S) of finished sessions and what is computed from them once; names that paths have already."""

    summaries: F64
    mean: F64
    spread: F64
    named: Mapping[str, str]


def describe(
    codebook: Codebook, log: SessionLog, codes: npt.NDArray[np.int32], named: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the descriptors of all coarse and full codes, as written to ``personas.json``.

    ``codes`` (n,) int32 are the full codes of the sessions of ``log``. A code that none has is listed with share 0.
    Paths in ``named`` keep the name given there, which no other path then gets.
    """
    wide = described_features(log.events, log.starts, log.lengths).astype(np.float64)
    facts = _Facts(wide, wide.mean(0), np.maximum(wide.std(0), 1e-6), named or {})
    fine_size = codebook.fine.shape[1]
    coarse_of = codes // fine_size
    paths = codebook.paths()
    coarse, full = [], []
    names = set(facts.named.values())
    for index in range(len(codebook.coarse)):
        own = coarse_of == index
        path = paths[index * fine_size].split(".")[0]
        group = _describe(facts, own, facts.mean, path, 2, "", names)
        coarse.append({"coarse": index, **group})
        mean = wide[own].mean(0) if own.any() else facts.mean
        for fine in range(fine_size):
            code = index * fine_size + fine
            if fine_size == 1:
                full.append({"code": code, "coarse": index, **group})
                continue
            persona = _describe(facts, codes == code, mean, paths[code], 1, str(group["name"]), names)
            full.append({"code": code, "coarse": index, **persona})
    return {"sessions": len(log), "coarse": coarse, "codes": full}


def _describe(
    facts: _Facts, own: npt.NDArray[np.bool_], against: F64, path: str, adjectives: int, noun: str, names: set[str]
) -> dict[str, Any]:
    count = int(own.sum())
    if not count:
        name = facts.named.get(path) or _unique(["unused", noun or "code"], path, names)
        sentence = "No session of the training data has this code."
        return {"code_path": path, "name": name, "sentence": sentence, "share": 0.0, "statistics": {"sessions": 0},
                "distinguishing": [], "confidence_note": "unused"}  # fmt: skip
    summaries = facts.summaries[own]
    statistics = _statistics(summaries)
    scores = (summaries.mean(0) - against) / facts.spread
    paused = statistics["events_mean"] >= PAUSED_EVENTS
    words = _words(scores, paused)
    name = facts.named.get(path) or _name(
        [adjective for _, adjective, _ in words], noun or _noun(statistics), adjectives, path, names
    )
    overall = (summaries.mean(0) - facts.mean) / facts.spread
    top = np.argsort(-np.abs(overall))[:6]
    share = count / len(own)
    sure = count >= SURE_SESSIONS
    return {
        "code_path": path,
        "name": name,
        "sentence": _sentence(share, statistics, _words(overall, paused), sure),
        "share": round(share, 6),
        "statistics": statistics,
        "distinguishing": [{"feature": _DESCRIBED[i], "z": round(float(overall[i]), 3)} for i in top],
        "confidence_note": f"{count} sessions" if sure else f"only {count} sessions: uncertain",
    }


def _statistics(summaries: F64) -> dict[str, float]:
    def counts(name: str) -> F64:
        return np.expm1(summaries[:, _PLACE[f"log_{name}"]])

    events = np.exp(summaries[:, _PLACE["log_events"]])
    figures = {
        "sessions": float(len(summaries)),
        "events_mean": events.mean(),
        "duration_median_s": np.median(counts("duration")),
        "gap_typical_s": np.expm1(summaries[events > 1.5, _PLACE["mean_log_gap"]].mean())
        if (events > 1.5).any()
        else 0.0,
        "conversion_rate": (counts("checkout_completed") > 0.5).mean(),
        "cart_rate": (counts("product_added_to_cart") > 0.5).mean(),
        "search_rate": (counts("search_submitted") > 0.5).mean(),
        "products_mean": counts("products").mean(),
        "categories_mean": counts("categories").mean(),
        "return_share": summaries[:, _PLACE["product_return_share"]].mean(),
        "cheaper_share": summaries[:, _PLACE["price_below_mean_share"]].mean(),
        "mobile_share": summaries[:, _PLACE["device_mobile"]].mean(),
        "weekend_share": summaries[:, _PLACE["weekend"]].mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def _words(scores: F64, paused: bool) -> list[tuple[float, str, str]]:
    """Return (score, adjective, phrase) of the notable features that have words, the most notable first."""
    found = []
    for feature, (high, low) in WORDS.items():
        score = float(scores[_PLACE[feature]])
        adjective, phrase = high if score > 0 else low
        if adjective and abs(score) >= NOTABLE and (paused or feature not in OF_PAUSES):
            found.append((score, adjective, phrase))
    return sorted(found, key=lambda word: -abs(word[0]))


def _noun(statistics: dict[str, float]) -> str:
    if statistics["conversion_rate"] >= 0.3:
        return "buyer"
    if statistics["cart_rate"] >= 0.5:
        return "cart filler"
    if statistics["events_mean"] < 2.5:
        return "visitor"
    if statistics["search_rate"] >= 0.6:
        return "searcher"
    return "browser"


def _name(adjectives: Sequence[str], noun: str, count: int, path: str, names: set[str]) -> str:
    """Return the noun with its first ``count`` adjectives, or with later ones where that name is taken."""
    fresh = [word for word in adjectives if word not in noun.split() and not noun.startswith(word[:6])] or ["plain"]
    lead = fresh[: count - 1]
    for last in fresh[count - 1 :]:
        name = " ".join([*lead, last, noun])
        if name not in names:
            names.add(name)
            return name
    return _unique([*fresh[:count], noun], path, names)


def _unique(words: Sequence[str], path: str, names: set[str]) -> str:
    name = " ".join(words)
    if name in names:
        name = f"{name} {path}"
    names.add(name)
    return name


def _sentence(share: float, statistics: dict[str, float], words: Sequence[tuple[float, str, str]], sure: bool) -> str:
    habits = [phrase for _, _, phrase in words[:3]]
    more = f"; more than others they {_join(habits)}" if habits else "; in nothing much unlike the others"
    return (
        f"{_percent(share)} of sessions: {_events(statistics['events_mean'])} in "
        f"{_duration(statistics['duration_median_s'])}, {_percent(statistics['cart_rate'])} fill a cart and "
        f"{_percent(statistics['conversion_rate'])} buy{more}{'' if sure else ' (few sessions, uncertain)'}."
    )


def _join(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _events(mean: float) -> str:
    """Fractions matter where sessions are short."""
    if mean < 1.05:
        return "one event"
    return f"{mean:.0f} events" if mean >= 9.5 else f"{mean:.1f} events"

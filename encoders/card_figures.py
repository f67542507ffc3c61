"""The pictures of a model card, as SVG inside its page: equal facts give equal bytes, nothing comes from afar."""

from collections.abc import Sequence
from io import StringIO

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from encoders.card_facts import CardFacts, EmbeddingMap, MerchantMix, PrefixReading
from encoders.codebook import F64

#: Up to so many types have colours that an eye tells apart.
_DISTINCT = 20
#: With more types their names are left out under the bars.
_NAMED_TYPES = 40
_WIDTH_IN = 9.0
#: Points are drawn as one picture inside the SVG: thousands of circles would be a megabyte.
_MAP_DPI = 110
Colour = tuple[float, float, float, float]


def figures(facts: CardFacts, code_paths: Sequence[str], perplexity: float) -> dict[str, str]:
    """Return the card's figures by name."""
    coarse = len(facts.map.vectors)
    fine = len(code_paths) // coarse
    types = [path.split(".")[0] for path in code_paths[::fine]]
    colours = type_colours(coarse)
    return {
        "usage": _usage(facts.usage, types, colours, perplexity),
        "map": _map(facts.map, types, colours),
        "reliability": _reliability(facts.prefixes),
        "mixes": _mixes(facts.mixes, types, colours),
    }


def type_colours(count: int) -> list[Colour]:
    """Return one colour (red, green, blue, alpha) for every coarse type."""
    if count <= _DISTINCT:
        wheel = colormaps["tab20"]
        # The pale half comes after the strong one, so that few types are all strong.
        return [wheel(2 * index if index < 10 else 2 * (index - 10) + 1) for index in range(count)]
    return [colormaps["turbo"](index / (count - 1)) for index in range(count)]


def _usage(usage: F64, types: Sequence[str], colours: Sequence[Colour], perplexity: float) -> str:
    figure = Figure((_WIDTH_IN, 2.6))
    axes = _axes(figure)
    fine = len(usage) // len(types)
    axes.bar(
        np.arange(len(usage)), 100 * usage, color=[colours[code // fine] for code in range(len(usage))], width=0.85
    )
    axes.axhline(100 / len(usage), color="0.4", linewidth=0.8, linestyle="--")
    axes.set_title(f"perplexity {perplexity:.1f} of {len(usage)} codes; {int((usage > 0).sum())} in use", loc="left")
    axes.set_ylabel("% of sessions")
    axes.set_xlim(-0.8, len(usage) - 0.2)
    middles = np.arange(len(types)) * fine + (fine - 1) / 2
    named = len(types) <= _NAMED_TYPES
    axes.set_xticks(middles if named else [], types if named else [], fontsize=8)
    return _svg(figure, "usage")


def _map(drawn: EmbeddingMap, types: Sequence[str], colours: Sequence[Colour]) -> str:
    figure = Figure((6.2, 5.0))
    axes = _axes(figure)
    axes.scatter(
        drawn.points[:, 0],
        drawn.points[:, 1],
        s=7,
        c=[colours[kind] for kind in drawn.coarse],
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    axes.scatter(drawn.vectors[:, 0], drawn.vectors[:, 1], s=34, c=list(colours), edgecolors="black", linewidths=0.8)
    if len(types) <= _DISTINCT:
        for name, (x, y) in zip(types, drawn.vectors.tolist(), strict=True):
            axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(f"first component, {drawn.explained[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {drawn.explained[1]:.0%}")
    axes.set_aspect("equal", "datalim")
    return _svg(figure, "map")


def _reliability(prefixes: Sequence[PrefixReading]) -> str:
    figure = Figure((5.2, 4.4))
    axes = _axes(figure)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    for reading, shade in zip(
        prefixes, colormaps["viridis"](np.linspace(0, 0.85, max(len(prefixes), 1))), strict=False
    ):
        axes.plot(*zip(*reading.bins, strict=True), marker="o", markersize=3.5, linewidth=1, color=shade,
                  label=f"after {reading.events} events")  # fmt: skip
    axes.set_xlabel("confidence given")
    axes.set_ylabel("share whose code was the final one")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    if prefixes:
        axes.legend(frameon=False, loc="upper left")
    return _svg(figure, "reliability")


def _mixes(mixes: Sequence[MerchantMix], types: Sequence[str], colours: Sequence[Colour]) -> str:
    figure = Figure((_WIDTH_IN, 1.1 + 0.22 * len(mixes)))
    axes = _axes(figure)
    places = np.arange(len(mixes))
    left = np.zeros(len(mixes))
    for kind, name in enumerate(types):
        shares = np.array([100 * mix.shares[kind] for mix in mixes])
        axes.barh(places, shares, left=left, color=colours[kind], height=0.8, label=name)
        left += shares
    names = [f"{_legible(mix.merchant)}{' *' if mix.held_out else ''} ({mix.sessions:,})" for mix in mixes]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the merchant's sessions")
    if len(types) <= _DISTINCT:
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure, "mixes")


def _legible(merchant: str) -> str:
    """A dollar sign would begin a formula."""
    short = merchant if len(merchant) <= 24 else f"{merchant[:23]}…"
    return short.replace("$", r"\$")


def _axes(figure: Figure) -> Axes:
    axes: Axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def _svg(figure: Figure, salt: str) -> str:
    """Return the figure without prologue: no date, names of parts that depend on ``salt`` alone, text left as text."""
    drawn = StringIO()
    rules = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}
    with rc_context(rules):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", bbox_inches="tight", transparent=True, dpi=_MAP_DPI, metadata=nothing)
    text = drawn.getvalue()
    return text[text.index("<svg") :].strip()

"""The picture of ``bench align --drifted``: agreement with the real sessions behind, by the hours since the drift."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.report import Report

#: Who walks in, what they are called, and their colour.
_CROWDS = (
    ("persona", "persona tokens, mix of the sessions seen", "tab:blue"),
    ("no_persona", "no persona, adapter on the sessions seen", "tab:orange"),
    ("real", "the sessions seen themselves", "0.45"),
)


def draw_drift(report: Report, hours: Sequence[float], path: Path) -> None:
    """Write the picture as SVG; equal figures give equal bytes."""
    figure = Figure((7.0, 3.4))
    axes = figure.subplots()
    places = range(len(hours))
    for name, label, colour in _CROWDS:
        means, low, high = (
            [report.figures[f"ara_g_{name}_{hour:g}h{end}"].value for hour in hours] for end in ("", "_low", "_high")
        )
        axes.plot(places, means, color=colour, marker="o", markersize=4, label=label)
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    seen = [report.figures[f"sessions_{hour:g}h"].value for hour in hours]
    names = ["before"] + [f"{hour:g} h\n{count:.0f} sessions" for hour, count in zip(hours[1:], seen[1:], strict=True)]
    axes.set_xticks(places, names)
    axes.set_xlabel("known of the time since the drift")
    axes.set_ylabel("G, action rates per session")
    axes.set_title(f"{report.figures['drifted_storefronts'].value:.0f} storefronts, 95 % over them", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    figure.tight_layout()
    with rc_context({"svg.hashsalt": "simpersona", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})

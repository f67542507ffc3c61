"""A trial's report as one page that needs nothing else: headline figures, a plot per measure, a table."""

from collections.abc import Mapping, Sequence
from html import escape

from agent_runtime.variants.effects import ADD_TO_CART, CONVERSION, DEPTH, MEASURES, OVERALL, REVENUE, SHARE, Effect

#: What a measure is called.
TITLES: Mapping[str, str] = {
    CONVERSION: "Conversion",
    ADD_TO_CART: "Add to cart",
    DEPTH: "Clicks a session",
    REVENUE: "Revenue a session",
    SHARE: "Share of sessions",
}
#: Pixels: names on the left, the scale, figures on the right; a row's height.
_NAMES, _SCALE, _FIGURES, _ROW = 230, 420, 170, 22
_STYLE = """
:root { color-scheme: light dark; --ink: #1b2330; --muted: #647084; --paper: #f6f7f9; --card: #fff; --line: #e2e6ec;
  --up: #15803d; --down: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf1; --muted: #98a4b8; --paper: #10151d; --card: #19202b;
  --line: #2a3341; --up: #4ade80; --down: #fb923c; } }
body { margin: 0 auto; max-width: 900px; padding: 1.2rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: 1rem; } .muted { color: var(--muted); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .8rem; margin: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; overflow-x: auto; }
.card + .card { margin-top: 1rem; } .figures .card { margin: 0; }
.card b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.up { color: var(--up); fill: var(--up); stroke: var(--up); } .down { color: var(--down); fill: var(--down);
  stroke: var(--down); } .flat { color: var(--muted); fill: var(--muted); stroke: var(--muted); }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); stroke: none; } svg .axis { stroke: var(--line); }
svg text.small { fill: var(--muted); } svg text.strong { font-weight: 700; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; } td, th { text-align: right; padding: .25rem .4rem;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; } td:first-child, th:first-child,
  td:nth-child(2), th:nth-child(2) { text-align: left; }
"""


def page(title: str, facts: str, effects: Sequence[Effect], names: Mapping[str, str], currency: str | None) -> str:
    """Return the report as HTML.

    facts   a sentence on what was compared; names  persona -> what it is called; currency of revenue, None when unknown
    """
    overall = [effect for effect in effects if effect.persona == OVERALL]
    plots = "".join(
        _plot(measure, [effect for effect in effects if effect.measure == measure], names, currency)
        for measure in (*MEASURES, SHARE)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f'<h1>{escape(title)}</h1>\n<p class="muted">{escape(facts)}</p>\n'
        f'<section class="figures">{"".join(_headline(effect, currency) for effect in overall)}</section>\n'
        f"{plots}{_table(effects, names, currency)}\n</html>\n"
    )


def amount(measure: str, value: float, currency: str | None, signed: bool = False) -> str:
    """Return a value in its measure's unit: per cent or points, clicks, money."""
    sign = "+" if signed else ""
    if measure in (CONVERSION, ADD_TO_CART, SHARE):
        return f"{100 * value:{sign}.2f} {'points' if signed else '%'}"
    if measure == DEPTH:
        return f"{value:{sign}.2f}"
    return f"{value / 100:{sign},.2f}" + (f" {currency}" if currency else "")


def _tone(effect: Effect) -> str:
    if not effect.is_clear:
        return "flat"
    return "up" if effect.difference > 0 else "down"


def _headline(effect: Effect, currency: str | None) -> str:
    relative = f" ({effect.relative:+.1%})" if effect.relative is not None else ""
    low, high = (amount(effect.measure, end, currency, signed=True) for end in (effect.low, effect.high))
    return (
        f'<div class="card"><span class="muted">{TITLES[effect.measure]}</span>'
        f'<b class="{_tone(effect)}">{amount(effect.measure, effect.difference, currency, signed=True)}{relative}</b>'
        f'<span class="muted">95 %: {low} to {high}<br>'
        f"{amount(effect.measure, effect.control, currency)} → {amount(effect.measure, effect.variant, currency)}"
        "</span></div>"
    )


def _plot(measure: str, effects: Sequence[Effect], names: Mapping[str, str], currency: str | None) -> str:
    """Return a forest plot: one row a persona, its difference as a dot, the interval as a line, zero upright."""
    reach = max(max(abs(effect.low), abs(effect.high)) for effect in effects) or 1.0
    height = _ROW * (len(effects) + 1)

    def at(value: float) -> float:
        return _NAMES + _SCALE / 2 + value / reach * (_SCALE / 2 - 10)

    rows = []
    for place, effect in enumerate(effects):
        y = _ROW * place + _ROW / 2
        weight = ' class="strong"' if effect.persona == OVERALL else ""
        figure = amount(measure, effect.difference, currency, signed=True)
        rows.append(
            f'<text x="0" y="{y + 4:.0f}"{weight}>{escape(_name(effect, names))}</text>'
            f'<g class="{_tone(effect)}"><line x1="{at(effect.low):.1f}" x2="{at(effect.high):.1f}" y1="{y}" y2="{y}" '
            f'stroke-width="2"/><circle cx="{at(effect.difference):.1f}" cy="{y}" r="4"/></g>'
            f'<text x="{_NAMES + _SCALE + 10}" y="{y + 4:.0f}"{weight}>{figure}</text>'
        )
    bottom = height - _ROW + 14
    ends = "".join(
        f'<text class="small" x="{at(value):.0f}" y="{bottom}" text-anchor="middle">'
        f"{amount(measure, value, currency, signed=True)}</text>"
        for value in (-0.75 * reach, 0.0, 0.75 * reach)
    )
    return (
        f'<section class="card"><h2>{TITLES[measure]}: variant minus control</h2>'
        f'<svg width="{_NAMES + _SCALE + _FIGURES}" height="{height}" role="img" '
        f'aria-label="{TITLES[measure]} by persona"><line class="axis" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" '
        f'y2="{height - _ROW}"/>{"".join(rows)}{ends}</svg></section>\n'
    )


def _table(effects: Sequence[Effect], names: Mapping[str, str], currency: str | None) -> str:
    head = "".join(f"<th>{word}</th>" for word in ("persona", "measure", "shoppers", "control", "variant", "95 %"))
    rows = []
    for effect in effects:
        ends = " to ".join(amount(effect.measure, end, currency, signed=True) for end in (effect.low, effect.high))
        cells = (
            _name(effect, names),
            TITLES[effect.measure],
            f"{effect.sessions:,}",
            amount(effect.measure, effect.control, currency),
            amount(effect.measure, effect.variant, currency),
            ends,
        )
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f'<section class="card"><h2>All figures</h2><table><tr>{head}</tr>{"".join(rows)}</table></section>'


def _name(effect: Effect, names: Mapping[str, str]) -> str:
    if effect.persona == OVERALL:
        return "all shoppers"
    return f"{names.get(effect.persona, 'persona')} ({effect.persona})"

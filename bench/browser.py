"""How often simulated shoppers get stuck on real web pages, and which lever keeps them going.

Arms: with and without persona tokens, with and without the action mask, with and without storefront flags. All arms
send the same number of shoppers with the same types, seeds and troubles through the same pages in Chromium.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent_runtime.alignment.yardsticks import mix_of
from agent_runtime.browser.chromium import find_chromium
from agent_runtime.browser.play import Pages, Watch, play_in_browser
from agent_runtime.browser.shopper import Manners, Walk
from agent_runtime.crowds.simulation import shop_hash
from agent_runtime.population.population import quotas
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.capabilities import NO_FLAGS
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.rollout import Span
from bench.browser_pictures import Sitting, take_pictures
from bench.browser_world import START_MS, BrowserWorld, BrowserWorldPlan, make_browser_world
from bench.report import Report
from infra.web.alone import storefront_alone
from infra.web.catalogue import Shops
from infra.web.storefront import PageRules
from infra.web.troubles import Troubles
from schemas.settings import settings

_DAY_MS = 86_400_000
#: Standard normal quantile of a two-sided 95 % interval.
_Z95 = 1.959964
#: What the pages suffer from: one in a hundred answers too late, some lack a link or a button, dialogs come up.
SLOW, MISSING, NEWSLETTER = 0.01, 0.02, 0.05
#: A page that answers too late does so after this many times a shopper's patience.
_LATE = 1.3


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of shopping."""

    typed: bool
    masked: bool
    flags: bool

    @property
    def name(self) -> str:
        """Short name: who shops, and what helps them."""
        levers = [name for name, on in (("mask", self.masked), ("flags", self.flags)) if on]
        return f"{'persona' if self.typed else 'untyped'}_{'_'.join(levers) or 'bare'}"


#: With and without persona tokens, with both helps and with none.
ARMS = tuple(Arm(typed, helped, helped) for helped in (True, False) for typed in (True, False))
#: The helps one at a time.
ARMS_APART = tuple(Arm(typed, masked, not masked) for masked in (True, False) for typed in (True, False))


@dataclass(frozen=True, slots=True)
class BrowserPlan:
    """What to run. ``sessions`` of each arm, spread over the held-out storefronts; ``at_once`` in one Chromium."""

    world: BrowserWorldPlan
    sessions: int = 16
    apart: bool = False
    at_once: int = 4
    patience_s: float = 10.0
    troubles: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Visited:
    """One session in figures."""

    crashed: bool
    invalid: tuple[str, ...]
    dialogs: int
    clicks: int
    products: int
    outcome: str
    seconds: float

    @staticmethod
    def of(walk: Walk) -> "Visited":
        """Return the figures of a walk."""
        session = walk.session
        products = sum(ACTIONS[action].event == "product_viewed" for action in session.actions)
        return Visited(
            session.crashed,
            walk.invalid,
            walk.dialogs,
            len(session.clicks),
            products,
            session.outcome,
            round(walk.seconds, 2),
        )


def bench_browser(folder: Path, plan: BrowserPlan, say: Callable[[str], None]) -> Report:
    """Make the world, walk every arm, and return the figures; an arm walked before is read from the folder.

    Raises BrowserError without Chromium or Playwright, and the errors of ``make_browser_world``.
    """
    chromium = find_chromium(settings().chromium)
    world = make_browser_world(folder, plan.world, say)
    report = Report()
    arms = ARMS + ARMS_APART if plan.apart else ARMS
    for arm in arms:
        _add(report, arm.name, _walked(folder, world, arm, plan, chromium, say))
    steps = world.real.traces.steps
    report.add("clicks_per_session_real", float(np.diff(steps.offsets).mean()), "clicks")
    for helps in ("mask_flags", "bare"):
        _fewer(report, f"by_persona_{helps}", f"persona_{helps}", f"untyped_{helps}")
    for who in ("persona", "untyped"):
        _fewer(report, f"by_mask_and_flags_{who}", f"{who}_mask_flags", f"{who}_bare")
        if plan.apart:
            _fewer(report, f"by_mask_{who}", f"{who}_mask", f"{who}_bare")
            _fewer(report, f"by_flags_{who}", f"{who}_flags", f"{who}_bare")
    return report


def picture_personas(
    folder: Path, plan: BrowserPlan, pictures: Path, say: Callable[[str], None], personas: int = 3
) -> list[Path]:
    """Write a strip of screenshots for each of some buyers of different coarse types; return the files."""
    chromium = find_chromium(settings().chromium)
    world = make_browser_world(folder, plan.world, say)
    merchant = min(world.shops)
    paths = world.simulators[True, True].vocabulary.code_paths
    chosen: dict[str, tuple[int, int]] = {}
    for agent, code in enumerate(_codes(world, merchant, plan.sessions, plan.seed)):
        chosen.setdefault(paths[code].partition(".")[0], (agent, code))
    sitting = Sitting(merchant, list(chosen.values())[:personas], plan.seed)
    pages = Pages("", chromium, plan.at_once, plan.patience_s)
    return sorted(take_pictures(world, sitting, pages, pictures, say))


def walk_arm(
    world: BrowserWorld,
    arm: Arm,
    plan: BrowserPlan,
    chromium: str,
    done: Callable[[int], None] = lambda _: None,
    watch: Watch | None = None,
) -> list[Walk]:
    """Send one arm's shoppers through the held-out storefronts, ``plan.sessions`` in all, and return their walks."""
    simulator = world.simulators[arm.typed, arm.flags]
    backend = simulator.model()
    shops = Shops.read(world.catalogue, world.storefronts)
    walks: list[Walk] = []
    for number, (merchant, shop) in enumerate(sorted(world.shops.items())):
        agents = range(number, plan.sessions, len(world.shops))
        codes = _codes(world, merchant, len(agents), plan.seed) if arm.typed else [0] * len(agents)
        flags = shop.capabilities.flags() if arm.flags else NO_FLAGS
        manners = Manners(arm.masked, flags, settings().gap_ms, plan.seed)
        with storefront_alone(shops, PageRules(plan.seed, troubles=_troubles(plan))) as address:
            walks += play_in_browser(
                Pages(address, chromium, plan.at_once, plan.patience_s),
                backend,
                simulator.vocabulary,
                Storefront(shop),
                list(zip(agents, codes, strict=True)),
                Span(START_MS, START_MS + 7 * _DAY_MS),
                manners,
                done,
                watch,
            )
    return walks


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which holds at shares of nought and one too."""
    share, square = hits / of, _Z95**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z95 / (1 + square / of) * float(np.sqrt(share * (1 - share) / of + square / (4 * of**2)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _walked(
    folder: Path, world: BrowserWorld, arm: Arm, plan: BrowserPlan, chromium: str, say: Callable[[str], None]
) -> list[Visited]:
    """Return an arm's sessions, from the folder if they were walked before with all the same."""
    told = [shop_hash(shop) for _, shop in sorted(world.shops.items())]
    key = json.dumps([asdict(plan), world.simulators[arm.typed, arm.flags].version, told], sort_keys=True)
    path = folder / f"{arm.name}.json"
    if path.exists() and (kept := json.loads(path.read_text()))["plan"] == key:
        say(f"{arm.name}: walked before")
        return [Visited(**{**one, "invalid": tuple(one["invalid"])}) for one in kept["sessions"]]
    left = plan.sessions

    def done(count: int) -> None:
        nonlocal left
        left -= count
        if left % 10 == 0:
            say(f"{arm.name}: {left} shoppers to go")

    say(f"{arm.name}: {plan.sessions} shoppers in Chromium")
    visited = [Visited.of(walk) for walk in walk_arm(world, arm, plan, chromium, done)]
    path.write_text(json.dumps({"plan": key, "sessions": [asdict(one) for one in visited]}, indent=1) + "\n")
    return visited


def _codes(world: BrowserWorld, merchant: str, buyers: int, seed: int) -> list[int]:
    """Return buyer types in the shares that real sessions at a merchant have them."""
    traces = world.real.traces
    own = traces.code[traces.merchant == traces.merchants.index(merchant)]
    mix = mix_of(merchant, traces.codebook_version, own, START_MS)
    return [int(code) for code in quotas(mix, buyers, seed)]


def _troubles(plan: BrowserPlan) -> Troubles | None:
    if not plan.troubles:
        return None
    late_s = plan.patience_s * _LATE
    return Troubles(plan.seed, SLOW, late_s, NEWSLETTER, MISSING, cookie_banner=True)


def _add(report: Report, name: str, visited: list[Visited]) -> None:
    count = len(visited)
    crashes = sum(one.crashed for one in visited)
    low, high = wilson(crashes, count)
    report.add(f"sessions_{name}", count, "sessions")
    report.add(f"crash_rate_{name}", crashes / count, "of sessions")
    report.add(f"crash_rate_{name}_low", low, "of sessions")
    report.add(f"crash_rate_{name}_high", high, "of sessions")
    invalid = [reason for one in visited for reason in one.invalid]
    report.add(f"invalid_actions_{name}", len(invalid) / count, "per session")
    late = sum("in time" in reason for reason in invalid)
    report.add(f"invalid_too_late_{name}", late / count, "per session")
    for what, values in (
        ("clicks", [one.clicks for one in visited]),
        ("products", [one.products for one in visited]),
        ("dialogs", [one.dialogs for one in visited]),
        ("seconds", [one.seconds for one in visited]),
    ):
        report.add(f"{what}_per_session_{name}", float(np.mean(values)), what)
    for outcome in ("cart", "checkout", "purchase"):
        deep = {"cart": ("cart", "checkout", "purchase"), "checkout": ("checkout", "purchase")}.get(outcome, (outcome,))
        report.add(f"reached_{outcome}_{name}", sum(one.outcome in deep for one in visited) / count, "of sessions")


def _fewer(report: Report, name: str, ours: str, theirs: str) -> None:
    """Note by how much the first arm crashes less than the second, as a share of the second's crashes."""
    less, more = (report.figures[f"crash_rate_{arm}"].value for arm in (ours, theirs))
    if more > 0:
        report.add(f"fewer_crashes_{name}", 1.0 - less / more, "of crashes")
    else:
        report.missing[f"fewer_crashes_{name}"] = f"nobody crashed in {theirs}."

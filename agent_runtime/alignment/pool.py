"""All held-out storefronts compared, in several processes; what is done is kept in a folder and not done again."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from agent_runtime.alignment.early_types import EarlyTypes
from agent_runtime.alignment.run import AlignmentPlan, Cast, Comparison, Figures, Player
from agent_runtime.alignment.strict import by_earlier_session, by_first_events
from agent_runtime.alignment.yardsticks import mix_of
from agent_runtime.population.population import Mix
from agent_runtime.simulators.simulator import load_simulator
from agent_runtime.traces.held_out import HeldOut, record
from encoders.serving import Encoder
from encoders.sessionise import read_sessions

#: Merchant -> condition -> measure -> value.
Results = dict[str, dict[str, Figures]]


@dataclass(frozen=True, slots=True)
class Casting:
    """Where a cast lies, so that every process can open its own.

    persona   folder of the simulator with persona tokens
    others    condition -> folder of a simulator without them
    earlier   folder of the simulator for buyers known from an earlier session, or None
    training  event logs of training merchants whose sessions are replayed; may be none
    """

    encoder: Path
    persona: Path
    others: Mapping[str, Path] = field(default_factory=dict)
    earlier: Path | None = None
    training: Sequence[Path] = ()
    max_events: int = 512


class Stage:
    """A cast that was opened. Raises ModelError or ArtefactError when a folder is not what it should be."""

    def __init__(self, casting: Casting, plan: AlignmentPlan) -> None:
        encoder = Encoder.load(casting.encoder)
        simulator = load_simulator(casting.persona)
        recorded, flags = None, []
        self.early: EarlyTypes | None = None
        if casting.training:
            recorded = record(read_sessions(casting.training, plan.gap_ms, casting.max_events), encoder)
            self.early = EarlyTypes.learn(recorded.log, recorded.traces.code, encoder)
            known = {merchant: shop.capabilities.flags() for merchant, shop in simulator.shops.items()}
            flags = [known.get(merchant, ()) for merchant in recorded.traces.merchants]
        self.plan = plan
        self.earlier = None if casting.earlier is None else _player(casting.earlier, typed=True)
        self.cast = Cast(
            persona=Player(simulator.language_model(), simulator.vocabulary),
            encoder=encoder,
            others={name: _player(folder, typed=False) for name, folder in casting.others.items()},
            chain=Player(simulator.chain(), simulator.vocabulary),
            training=recorded,
            training_flags=tuple(flags),
            prior=simulator.prior(),
        )

    def compare(self, held: HeldOut, other_mixes: Mapping[str, Mix], say: Callable[[str], None]) -> dict[str, Figures]:
        """Return all conditions' figures of one storefront, those of the strict protocol among them."""
        comparison = Comparison(held, self.cast, self.plan)
        figures = comparison.run(other_mixes, say)
        if self.early is not None:
            say("types from three events")
            figures |= by_first_events(comparison, self.early)
        if self.earlier is not None:
            say("types from earlier sessions")
            figures |= by_earlier_session(comparison, self.earlier)
        return figures


def compare_all(
    held: Sequence[HeldOut],
    casting: Casting,
    plan: AlignmentPlan,
    kept: Path,
    processes: int = 1,
    say: Callable[[str], None] = lambda _: None,
    done: Callable[[str], None] = lambda _: None,
) -> Results:
    """Return every storefront's figures. ``kept`` is a folder of results so far, one file a storefront.

    Files of another cast, plan or log are left alone. ``say`` is told conditions (of one process only), ``done``
    merchants.
    """
    folder = kept / fingerprint(casting, plan)
    folder.mkdir(parents=True, exist_ok=True)
    results: Results = {}
    mixes = [mix_of(one.merchant_id, "", one.past.traces.code, one.span.start_ms) for one in held]
    waiting: list[tuple[HeldOut, Mapping[str, Mix]]] = []
    places: dict[str, Path] = {}
    for place, one in enumerate(held):
        others = [mixes[(place + step) % len(held)] for step in range(1, 1 + min(plan.other_mixes, len(held) - 1))]
        path = places[one.merchant_id] = folder / f"{storefront_name(one, others)}.json"
        if path.is_file():
            results[one.merchant_id] = json.loads(path.read_text())
            done(one.merchant_id)
        else:
            waiting.append((one, {mix.merchant_id: mix for mix in others}))
    if processes == 1 and waiting:
        stage = Stage(casting, plan)
        for one, mixes_of_others in waiting:
            figures = stage.compare(one, mixes_of_others, lambda step, name=one.merchant_id: say(f"{name}: {step}"))  # type: ignore[misc]
            results[one.merchant_id] = _keep(places[one.merchant_id], figures)
            done(one.merchant_id)
    elif waiting:
        # spawned, not forked: torch and ONNX Runtime have threads by then
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(waiting)), context, _open, (casting, plan)) as pool:
            running = {pool.submit(_compare, *one): one[0].merchant_id for one in waiting}
            for future in as_completed(running):
                results[running[future]] = _keep(places[running[future]], future.result())
                done(running[future])
    return {one.merchant_id: results[one.merchant_id] for one in held}


def fingerprint(casting: Casting, plan: AlignmentPlan) -> str:
    """Return a name for a comparison: who takes part, by their versions, and its dials."""
    folders = [casting.persona, *casting.others.values(), *([casting.earlier] if casting.earlier else [])]
    parts = {
        "simulators": [load_simulator(folder).version for folder in folders],
        "encoder": Encoder.load(casting.encoder).version,
        "others": list(casting.others),
        "training": [path.name for path in casting.training],
        "plan": asdict(plan),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _player(folder: Path, typed: bool) -> Player:
    simulator = load_simulator(folder)
    return Player(simulator.language_model(), simulator.vocabulary, typed)


def storefront_name(held: HeldOut, others: Sequence[Mix]) -> str:
    """Return a name for a storefront as it is compared here: its shop, both halves of its log, and the other mixes."""
    digest = hashlib.sha256(repr((held.shop.to_json(), held.span, others)).encode())
    for half in (held.past.log, held.future.log):
        for column in (half.events, half.lengths, half.key):
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


def _keep(path: Path, figures: dict[str, Figures]) -> dict[str, Figures]:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(figures))
    part.replace(path)
    return figures


_STAGE: list[Stage] = []


def _open(casting: Casting, plan: AlignmentPlan) -> None:
    """Open the cast once in a worker process."""
    _STAGE.append(Stage(casting, plan))


def _compare(held: HeldOut, other_mixes: Mapping[str, Mix]) -> dict[str, Figures]:
    return _STAGE[0].compare(held, other_mixes, lambda _: None)

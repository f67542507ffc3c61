"""One run of the generator: from its size and seed to the event log, the truth and their sidecars."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.errors import GeneratorError
from encoders.event_log import EventLogWriter
from encoders.generator.buyer_types import habits
from encoders.generator.delivery import Faults, deliver, event_keys
from encoders.generator.event_table import EventTable
from encoders.generator.malformed import malformed_path, spoil
from encoders.generator.merchants import HOUR_MS, Merchant, build_merchant
from encoders.generator.randomness import uniforms
from encoders.generator.simulation import simulate
from encoders.generator.truth import TRUTH_SCHEMA, truth_rows, truth_summary
from encoders.generator.visits import Visits, plan_bots, plan_visits
from encoders.generator.whole_file import whole_file
from encoders.generator.world import build_world
from schemas.conditions import write_conditions
from schemas.validation import TIME_MAX_MS, TIME_MIN_MS

#: Default of the difficulty dial: chosen so that a classifier that is told the types reaches 0.8 to 0.9 NMI on the
#: sessions of shops it has not seen (``docs/generator.md``).
OVERLAP = 0.0
#: Stream of random numbers that picks the clicks beside which a malformed record is put.
_SPOIL = 31


@dataclass(frozen=True, slots=True)
class GeneratorRun:
    """What to generate. Two runs of the same seed see the same shops, whatever their start, size or faults.

    merchants, first_merchant  shops ``first_merchant`` up to ``first_merchant + merchants - 1`` of the seed's world
    buyers      of every shop, arriving over the run; each comes once or more often
    hours, start_ms  length and begin of the run (Unix milliseconds, UTC)
    drift       plant drifts of the mix
    bots        share of all sessions that are made by bots
    malformed   share of events beside which an unusable record is put
    overlap     difficulty dial in [0, 1], see ``buyer_types.habits``
    new_habits  how far the types have gone over to new ways, in [0, 1], see ``new_habits``
    conditions  shops differ in price level, free shipping, ranking and delay, and shoppers answer (``conditions``)
    """

    merchants: int
    buyers: int
    hours: float
    seed: int
    start_ms: int
    first_merchant: int = 0
    drift: bool = True
    bots: float = 0.005
    malformed: float = 0.0005
    overlap: float = OVERLAP
    new_habits: float = 0.0
    conditions: bool = False
    faults: Faults = field(default_factory=Faults)

    @property
    def end_ms(self) -> int:
        """When the last visit has started."""
        return self.start_ms + round(self.hours * HOUR_MS)


@dataclass(frozen=True, slots=True)
class Generated:
    """Counts of one run; ``events`` are rows of the log, second copies included; ``malformed`` by kind."""

    events: int
    sessions: int
    bot_sessions: int
    buyers: int
    merchants: int
    conversions: int
    duplicates: int
    late: int
    delayed: int
    malformed: dict[str, int]
    drifts: int
    promotions: int


def generate(
    run: GeneratorRun, events_path: Path, truth_path: Path, on_progress: Callable[[int, int], None]
) -> Generated:
    """Write the event log, the truth (Parquet, with a JSON sidecar), the catalogues and the malformed payloads.

    Beside ``events_path`` come ``<stem>.catalogue.parquet`` and ``<stem>.malformed.jsonl``, beside ``truth_path``
    ``<stem>.json``. The same run writes the same bytes. ``on_progress(done, total)`` is told visits. Memory is bounded
    by the plan of visits (about 60 bytes each) and one slice of events. Files take their names only at the end.

    Raises GeneratorError on a size that makes no sense, EventLogError when a file cannot be written.
    """
    _check(run)
    _check_paths(events_path, truth_path)
    merchants = [
        build_merchant(run.seed, number, run.start_ms, run.end_ms, run.drift, run.conditions)
        for number in range(run.first_merchant, run.first_merchant + run.merchants)
    ]
    types = habits(run.overlap, run.new_habits)
    visits = _plan(run, merchants, types)
    table = EventTable(merchants, visits, types)
    counts: Counter[str] = Counter()
    spoilt: Counter[str] = Counter()
    with ExitStack() as files:
        log = files.enter_context(EventLogWriter(events_path))
        part_path = files.enter_context(whole_file(truth_path))
        truth = files.enter_context(pq.ParquetWriter(part_path, TRUTH_SCHEMA, compression="zstd"))
        bad = files.enter_context(files.enter_context(whole_file(malformed_path(events_path))).open("w"))
        for part in simulate(visits, build_world(merchants), types):
            key = event_keys(visits["visit_key"][part.events["visit"]], part.events["sequence"])
            deliveries = deliver(part.events["t_ms"], key, run.faults)
            rows = table.rows(part.events, key, deliveries)
            log.write(rows)
            truth.write_table(truth_rows(part, visits, merchants))
            chosen = np.flatnonzero(uniforms(key, _SPOIL) < run.malformed)
            first_copies = np.searchsorted(deliveries.event, chosen, side="left")
            for record in spoil(rows.take(pa.array(first_copies)), spoilt.total()):
                bad.write(record.to_json() + "\n")
                spoilt[record.kind] += 1
            counts.update(
                duplicates=deliveries.duplicates,
                late=deliveries.late,
                delayed=deliveries.delayed,
                conversions=int(part.bought.sum()),
            )
            on_progress(part.last, len(visits))
        events = log.rows
    result = Generated(
        events=events,
        sessions=len(visits),
        bot_sessions=int((visits["kind"] < 0).sum()),
        buyers=run.buyers * run.merchants,
        merchants=run.merchants,
        malformed=dict(sorted(spoilt.items())),
        drifts=sum(merchant.drift is not None for merchant in merchants),
        promotions=sum(len(merchant.promotions) for merchant in merchants),
        conversions=counts["conversions"],
        duplicates=counts["duplicates"],
        late=counts["late"],
        delayed=counts["delayed"],
    )
    with whole_file(catalogue_path(events_path)) as part_path:
        tables = [merchant.catalogue.to_table(merchant.merchant_id) for merchant in merchants]
        pq.write_table(pa.concat_tables(tables), part_path, compression="zstd")
    if run.conditions:
        with whole_file(conditions_path(events_path)) as part_path:
            told = {one.merchant_id: one.conditions for one in merchants if one.conditions is not None}
            write_conditions(part_path, told)
    with whole_file(truth_path.with_suffix(".json")) as part_path:
        summary = truth_summary(merchants, run.start_ms, run.end_ms, run.seed, asdict(result))
        part_path.write_text(json.dumps(summary, indent=1) + "\n")
    return result


def catalogue_path(events: Path) -> Path:
    """Return where the catalogues of an event log's shops are kept: beside it."""
    return events.with_name(f"{events.stem}.catalogue.parquet")


def conditions_path(events: Path) -> Path:
    """Return where the conditions of an event log's storefronts are told: beside it."""
    return events.with_name(f"{events.stem}.storefronts.jsonl")


def _plan(run: GeneratorRun, merchants: list[Merchant], types: np.ndarray) -> Visits:
    plans = []
    for position, merchant in enumerate(merchants):
        buyers = plan_visits(merchant, position, run.seed, run.buyers, run.start_ms, run.end_ms, types)
        plans.append(buyers)
        plans.append(
            plan_bots(merchant, position, run.seed, run.buyers, len(buyers), run.bots, run.start_ms, run.end_ms)
        )
    visits = np.concatenate(plans)
    return visits[np.lexsort((visits["buyer"], visits["merchant"], visits["start_ms"]))]


def _check(run: GeneratorRun) -> None:
    for name, low, high in (
        ("merchants", 1, 100_000),
        ("buyers", 1, 10_000_000),
        ("hours", 1, 24 * 366),
        ("seed", 0, 2**63 - 1),
        ("first_merchant", 0, 2**31 - 1),
        ("bots", 0, 0.5),
        ("malformed", 0, 0.5),
        ("overlap", 0, 1),
        ("new_habits", 0, 1),
    ):
        value = getattr(run, name)
        if not low <= value <= high:
            raise GeneratorError(
                f"{name.replace('_', ' ')} is {value}, expected {low} to {high}; choose another value."
            )
    for name, value in asdict(run.faults).items():
        if not 0 <= value <= 1:
            raise GeneratorError(f"{name} is {value}, expected 0 to 1; choose another value.")
    if not TIME_MIN_MS <= run.start_ms < TIME_MAX_MS:
        raise GeneratorError(f"the start is {run.start_ms} ms, expected a time between the years 2000 and 2100.")


def _check_paths(events_path: Path, truth_path: Path) -> None:
    _check_no_folder(events_path, truth_path)
    files = {
        "events": events_path,
        "truth": truth_path,
        "catalogues": catalogue_path(events_path),
        "malformed payloads": malformed_path(events_path),
        "storefront conditions": conditions_path(events_path),
        "summary of the truth": truth_path.with_suffix(".json"),
    }
    _check_no_folder(*files.values())
    holds: dict[Path, str] = {}
    for what, path in files.items():
        other = holds.setdefault(path.resolve(), what)
        if other != what:
            raise GeneratorError(f"{path}: is to hold both the {other} and the {what}; name two files.")


def _check_no_folder(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            raise GeneratorError(f"{path}: is a folder; name a file to write.")

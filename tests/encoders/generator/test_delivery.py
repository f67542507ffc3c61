"""Faults of delivery depend on the event alone, and the counts say what was done."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.generator.delivery import Faults, deliver, event_keys

pytestmark = pytest.mark.fast

ALLOWED_LATENESS_MS = 300_000
MANY = np.sort(np.random.default_rng(1).integers(10**12, 10**12 + 10**8, size=4_000))
KEYS = event_keys(np.arange(4_000, dtype=np.uint64), np.zeros(4_000, dtype=np.int16))

shares = st.floats(0.0, 0.4)


@given(delayed=shares, late=shares, duplicated=shares, cut=st.integers(0, 4_000))
def test_events_fare_the_same_however_they_are_cut(delayed: float, late: float, duplicated: float, cut: int) -> None:
    faults = Faults(delayed, late, duplicated)
    whole = deliver(MANY, KEYS, faults)
    parts = deliver(MANY[:cut], KEYS[:cut], faults), deliver(MANY[cut:], KEYS[cut:], faults)
    assert np.array_equal(whole.event, np.concatenate([parts[0].event, parts[1].event + cut]))
    assert np.array_equal(whole.received_ms, np.concatenate([parts[0].received_ms, parts[1].received_ms]))
    for count in ("delayed", "late", "duplicates"):
        assert getattr(whole, count) == sum(getattr(part, count) for part in parts)


@given(delayed=shares, late=shares, duplicated=shares)
def test_every_event_arrives_after_it_happened_and_a_second_copy_after_the_first(
    delayed: float, late: float, duplicated: float
) -> None:
    arrived = deliver(MANY, KEYS, Faults(delayed, late, duplicated))
    assert (arrived.received_ms >= MANY[arrived.event]).all()
    assert np.array_equal(np.unique(arrived.event), np.arange(len(MANY)))
    again = np.flatnonzero(arrived.event[1:] == arrived.event[:-1]) + 1
    assert len(again) == arrived.duplicates
    assert (arrived.received_ms[again] > arrived.received_ms[again - 1]).all()


def test_a_late_event_is_beyond_the_allowed_lateness_and_a_delayed_one_within() -> None:
    assert (deliver(MANY, KEYS, Faults(0.0, 1.0, 0.0)).received_ms - MANY > ALLOWED_LATENESS_MS).all()
    delay_ms = deliver(MANY, KEYS, Faults(1.0, 0.0, 0.0)).received_ms - MANY
    assert ((delay_ms > 1_000) & (delay_ms < ALLOWED_LATENESS_MS)).all()


def test_shares_are_met() -> None:
    arrived = deliver(MANY, KEYS, Faults(delayed=0.1, late=0.05, duplicated=0.2))
    found = np.array([arrived.delayed, arrived.late, arrived.duplicates]) / len(MANY)
    assert found == pytest.approx([0.1, 0.05, 0.2], abs=0.03)


def test_keys_of_events_are_all_different() -> None:
    visit = np.repeat(np.arange(1_000, dtype=np.uint64), 100)
    sequence = np.tile(np.arange(100, dtype=np.int16), 1_000)
    assert len(np.unique(event_keys(visit, sequence))) == len(visit)

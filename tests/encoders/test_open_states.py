"""Sessions that come again: read on from where they were, and read anew where they are not what they were."""

import numpy as np
import pytest

from encoders.open_states import OpenStates
from schemas.events import EVENT, Events

pytestmark = pytest.mark.fast

WIDTH, LATENT_WIDTH = 2, 3


def session(first_id: int, length: int) -> Events:
    events = np.zeros(length, EVENT)
    events["id"] = first_id + np.arange(length)
    events["t"] = 1_000 * np.arange(length)
    return events


def kept(states: OpenStates, events: Events, value: float) -> None:
    known = states.recall(events, np.array([0]), np.array([len(events)]))
    known.states[:], known.latents[:] = value, -value
    states.keep(known, np.array([0]))


def recalled(states: OpenStates, events: Events) -> tuple[int, float]:
    known = states.recall(events, np.array([0]), np.array([len(events)]))
    assert not known.read[0] or known.latents[0, 0] == -known.states[0, 0]
    return int(known.read[0]), float(known.states[0, 0])


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (lambda events: events, (3, 7.0)),
        (lambda events: events[:3], (3, 7.0)),
        (lambda events: events[:2], (0, 0.0)),
        (lambda events: np.roll(events, 1), (0, 0.0)),
        (lambda events: np.concatenate([events[:1], session(90, 1), events[1:]]), (0, 0.0)),
    ],
)
def test_a_state_counts_for_a_session_that_goes_on_and_for_no_other(changed: object, found: tuple[int, float]) -> None:
    states, events = OpenStates(WIDTH, LATENT_WIDTH, 16), session(10, 5)
    kept(states, events[:3], 7.0)
    assert recalled(states, changed(events)) == found  # type: ignore[operator]


def test_a_session_keeps_one_place_as_it_grows() -> None:
    states, events = OpenStates(WIDTH, LATENT_WIDTH, 2), session(10, 9)
    for length in range(1, 9):
        kept(states, events[:length], float(length))
    assert recalled(states, events) == (8, 8.0)
    other = session(50, 2)
    kept(states, other[:1], 1.0)
    assert recalled(states, other) == (1, 1.0)


def test_the_place_of_an_older_session_is_taken_and_never_mistaken() -> None:
    states = OpenStates(WIDTH, LATENT_WIDTH, 4)
    sessions = [session(100 * number, 3) for number in range(1, 30)]
    for number, events in enumerate(sessions):
        events["t"] += 60_000 * number
        kept(states, events[:2], float(number))
    found = [recalled(states, events) for events in sessions]
    assert found[-1] == (2, 28.0)
    assert all(one in ((0, 0.0), (2, float(number))) for number, one in enumerate(found))
    assert sum(read > 0 for read, _ in found) <= 4

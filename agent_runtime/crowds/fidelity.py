"""Round trip: does a simulated shopper of a buyer type come back from the encoder as that type?

Measured on what the stream stored (simulated sessions joined with their own assignments), or offline with the encoder
alone. The share of own types says how well single shoppers carry their type, the Jensen–Shannon divergence whether
the crowd as a whole keeps its mix.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agent_runtime.errors import PopulationError
from agent_runtime.storefront.session import PlayedSession, click_events
from schemas.click_codec import ClickDecoder, encode_click
from schemas.events import SessionBatch


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A round trip's figures.

    sessions    simulated sessions that came back with a type
    own_type    share of them whose coarse type is the one they were given
    own_code    the same for the full code path
    js_nats     Jensen–Shannon divergence (nats, 0 to ln 2) of the coarse mixes given and come back
    by_type     coarse type -> share of own type among the sessions it was given to
    """

    sessions: int
    own_type: float
    own_code: float
    js_nats: float
    by_type: dict[str, float]


def fidelity(given: Sequence[str], returned: Sequence[str]) -> Fidelity:
    """Return the figures of sessions whose code path was ``given[i]`` and came back as ``returned[i]``.

    Raises PopulationError when there is none.
    """
    if not given:
        raise PopulationError("No simulated session has come back with a type yet; wait for the worker, or start one.")
    wanted = np.array([path.partition(".")[0] for path in given])
    found = np.array([path.partition(".")[0] for path in returned])
    types = np.unique(np.concatenate([wanted, found]))
    own = wanted == found
    return Fidelity(
        sessions=len(given),
        own_type=float(own.mean()),
        own_code=float(np.mean([a == b for a, b in zip(given, returned, strict=True)])),
        js_nats=jensen_shannon(_shares(wanted, types), _shares(found, types)),
        by_type={str(name): float(own[wanted == name].mean()) for name in types if (wanted == name).any()},
    )


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:  # type: ignore[type-arg]
    """Return the Jensen–Shannon divergence of two distributions (k,) in nats (Lin 1991)."""
    middle = (p + q) / 2
    return float((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:  # type: ignore[type-arg]
    present = p > 0
    return float(np.sum(p[present] * np.log(p[present] / q[present])))


def _shares(names: np.ndarray, types: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray((names[:, None] == types).mean(axis=0))


def session_batch(sessions: Iterable[PlayedSession], merchant_id: str) -> SessionBatch:
    """Return played sessions as the encoder reads them, through the same bytes that go to Kafka."""
    values, lengths = [], [0]
    for session in sessions:
        clicks = click_events(session, "offline", merchant_id, None)
        values += [encode_click(click) for click in clicks]
        lengths.append(len(clicks))
    return SessionBatch(ClickDecoder().decode(values).batch.events, np.cumsum(lengths, dtype=np.int64))

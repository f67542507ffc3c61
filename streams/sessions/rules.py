"""What makes a session: the few numbers that every cut, every lateness judgement and every mark rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numba as nb
import numpy as np

from schemas.events import I64, U64
from schemas.hashing import hash64
from schemas.machine import uncounted
from streams.errors import SessionRuleError

#: A session of at least this many events whose gaps are mostly under ROBOTIC_GAP_MS was not clicked by a person.
ROBOTIC_EVENTS = 30
ROBOTIC_GAP_MS = 500
#: A client with more events than this in its open sessions is hot: its state is written in blocks of so many events.
BLOCK_EVENTS = 256
#: No time or number in a rule is larger: a century, in milliseconds, which sums of event times bear.
LONGEST_MS = 100 * 366 * 86_400_000


@dataclass(frozen=True)
class SessionRules:
    """The rules of one deployment; the stream and the offline pass must be given the same ones.

    gap_ms               a longer pause starts a new session; an event exactly at the gap belongs to the old one
    allowed_lateness_ms  an event received later than this after it occurred is late
    session_max_ms       an event later than this after a session's first event starts a new one
    session_max_events   a session holds at most this many events
    gap_overrides_ms     merchant_id -> gap_ms, where a merchant wants another gap

    Raises SessionRuleError on a value that cannot be meant.
    """

    gap_ms: int
    allowed_lateness_ms: int
    session_max_ms: int
    session_max_events: int
    gap_overrides_ms: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        gaps = {"gap_ms": self.gap_ms, **{f"gap_ms of {name}": gap for name, gap in self.gap_overrides_ms.items()}}
        for name, value, least in (
            *((name, gap, 1) for name, gap in gaps.items()),
            ("allowed_lateness_ms", self.allowed_lateness_ms, 0),
            ("session_max_ms", self.session_max_ms, 1),
            ("session_max_events", self.session_max_events, 2),
        ):
            if not least <= value <= LONGEST_MS:
                raise SessionRuleError(f"Session rule {name} is {value}; it must be {least} to {LONGEST_MS}.")

    @property
    def closed_after_ms(self) -> int:
        """Event time after a client's last event at which all sessions of any merchant are closed."""
        return max(self.gap_ms, *self.gap_overrides_ms.values(), 0) + self.allowed_lateness_ms + 1

    def limits(self, block_events: int = BLOCK_EVENTS) -> "Limits":
        """The numbers as the compiled code takes them."""
        overrides = sorted((hash64(name.encode()), gap) for name, gap in self.gap_overrides_ms.items())
        return Limits(
            lateness_ms=self.allowed_lateness_ms,
            max_ms=self.session_max_ms,
            max_events=self.session_max_events,
            block=block_events,
            gaps_ms=np.array([self.gap_ms, *(gap for _, gap in overrides)], dtype=np.int64),
            merchants=np.array([merchant for merchant, _ in overrides], dtype=np.uint64),
        )


class Limits(NamedTuple):
    """The rules for compiled code.

    block      events above which a client is hot
    gaps_ms    the usual gap, then those of the merchants with a gap of their own
    merchants  sorted hashes of these merchants
    """

    lateness_ms: int
    max_ms: int
    max_events: int
    block: int
    gaps_ms: I64
    merchants: U64


@nb.njit(cache=True, nogil=True)
def lent_limits(limits: Limits) -> Limits:
    """Return the rules with their arrays uncounted; see ``session_table.lent``."""
    return Limits(
        limits.lateness_ms,
        limits.max_ms,
        limits.max_events,
        limits.block,
        uncounted(limits.gaps_ms),
        uncounted(limits.merchants),
    )

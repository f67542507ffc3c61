"""What goes wrong on a web page, on purpose and by seed: slow answers, dialogs in the way, elements that are missing.

For tests and benchmarks of shoppers in a browser. A client's n-th page has the same troubles in every run.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

#: Elements that a page can lack.
ELEMENTS = ("add", "checkout", "pay", "order", "search", "nav")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one page suffers from: ``delay_s`` before it answers, a dialog over it, elements it lacks."""

    delay_s: float = 0.0
    newsletter: bool = False
    missing: frozenset[str] = frozenset()


@dataclass(slots=True)
class Troubles:
    """Chances per page. ``cookie_banner`` covers a client's pages until it is answered.

    slow, delay_s  chance that a page answers only after ``delay_s``
    newsletter     chance that a pop-up covers the page
    missing        chance, for each of ``ELEMENTS``, that the page lacks it
    """

    seed: int = 0
    slow: float = 0.0
    delay_s: float = 5.0
    newsletter: float = 0.0
    missing: float = 0.0
    cookie_banner: bool = False
    _pages: Counter[str] = field(default_factory=Counter)

    def next_page(self, client: str) -> Trouble:
        """Return what befalls a client's next page, counting it."""
        self._pages[client] += 1
        number = self._pages[client]
        return Trouble(
            self.delay_s if self._unit(client, number, "slow") < self.slow else 0.0,
            self._unit(client, number, "newsletter") < self.newsletter,
            frozenset(element for element in ELEMENTS if self._unit(client, number, element) < self.missing),
        )

    def _unit(self, client: str, number: int, what: str) -> float:
        key = f"{self.seed}:{client}:{number}:{what}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=6).digest()) / 2**48

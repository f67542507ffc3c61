"""A shop with every page, a backend that says what a test tells it to, and the ways into Chromium."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent_runtime.backends import Kind, Scores, kind_at
from agent_runtime.browser.play import Pages, play_in_browser
from agent_runtime.browser.shopper import Manners, Walk
from agent_runtime.storefront.actions import Action
from agent_runtime.storefront.capabilities import FIELDS, Capabilities
from agent_runtime.storefront.shop import Product, Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import Tokens, Vocabulary
from agent_runtime.walk.rollout import Span
from encoders.generator.catalogue import CATALOGUE_SCHEMA
from infra.stack.web import WebPages
from infra.web.alone import storefront_alone
from infra.web.catalogue import Shops
from infra.web.storefront import PageRules
from schemas.taxonomy import EVENT_CODES
from streams.broker.topology import ensure_topics
from tests.browser.site import PARTITIONS

START_MS = 1_764_000_000_000
GAP_MS = 1_800_000
LATE_S, PATIENCE_S = 3.0, 10.0
#: Log-odds of leaving against any one action.
LEAVING = 1.5


def make_shop(without: Sequence[str] = ()) -> Shop:
    """Return a shop of eighteen products in three categories, where everything but ``without`` can happen."""
    products = tuple(Product(f"p{i}", ("cups", "hats", "pens")[i % 3], 900 + 350 * i, 40 - i) for i in range(18))
    events = frozenset(EVENT_CODES) - set(without)
    fields = dict.fromkeys(events, frozenset(FIELDS) - {"query"}) | {"search_submitted": frozenset({"query"})}
    requires = {
        event: owed & events
        for event, owed in (
            ("product_removed_from_cart", frozenset({"product_added_to_cart"})),
            ("checkout_started", frozenset({"product_added_to_cart"})),
            ("payment_info_submitted", frozenset({"checkout_started"})),
            ("checkout_completed", frozenset({"checkout_started", "payment_info_submitted"})),
        )
    }
    return Shop("shop", "EUR", products, (("cups", 3), ("hats", 1)), Capabilities(events, fields, requires))


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Words for two buyer types."""
    return Vocabulary("cb-test", ("c00", "c01"))


class Says:
    """A ``Backend`` that wishes for these actions one after another, then leaves; nothing else has any chance."""

    def __init__(self, vocabulary: Vocabulary, actions: Sequence[Action]) -> None:
        self._vocabulary = vocabulary
        self._names = [action.name for action in actions]

    def scores(self, tokens: Tokens) -> Scores:
        """See ``Backend``."""
        words, position = self._vocabulary, tokens.shape[1]
        scores = np.full((len(tokens), len(words)), -60.0, np.float32)
        taken = sum(words.ranges["action"][0] <= token < words.ranges["action"][1] for token in tokens[0])
        if kind_at(position, words) in (Kind.FIRST, Kind.ACTION):
            wished = words.id(self._names[taken]) if taken < len(self._names) else words.leave
            scores[:, wished - words.offset] = 0.0
        return scores


class Even:
    """A ``Backend`` to which every action is as likely: it tries everything, and leaves after a handful."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._scores = np.zeros(len(vocabulary), np.float32)
        self._scores[vocabulary.leave - vocabulary.offset] = LEAVING

    def scores(self, tokens: Tokens) -> Scores:
        """See ``Backend``."""
        return np.repeat(self._scores[None], len(tokens), axis=0)


Go = Callable[..., list[Walk]]


@pytest.fixture
def go(chromium: str, vocabulary: Vocabulary) -> Iterator[Go]:
    """Send shoppers through a shop's pages in Chromium: ``go(backend, shop, agents=1, masked=True, rules=…)``."""

    def send(
        backend: Says | Even,
        shop: Shop,
        agents: int = 1,
        masked: bool = True,
        rules: PageRules | None = None,
        patience_s: float = PATIENCE_S,
    ) -> list[Walk]:
        manners = Manners(masked, shop.capabilities.flags(), GAP_MS, seed=3)
        with storefront_alone(Shops.observed([shop]), rules) as address:
            return play_in_browser(
                Pages(address, chromium, at_once=2, patience_s=patience_s),
                backend,
                vocabulary,
                Storefront(shop),
                [(agent, 0) for agent in range(agents)],
                Span(START_MS, START_MS + 7 * 86_400_000),
                manners,
            )

    yield send


@pytest.fixture
def site(kafka: str, clickhouse: str, tmp_path: Path) -> Iterator[str]:
    """The address of the web pages, with a catalogue of six products."""
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    catalogue = tmp_path / "catalogue.parquet"
    rows = [["shop-1", f"p{i}", f"Blue cup {i}", "cups", 1_000 + 100 * i, "EUR", i + 1] for i in range(6)]
    columns = zip(zip(*rows, strict=True), CATALOGUE_SCHEMA, strict=True)
    arrays = [pa.array(values, field.type) for values, field in columns]
    pq.write_table(pa.table(arrays, schema=CATALOGUE_SCHEMA), catalogue)
    addresses = {"SIMPERSONA_KAFKA": kafka, "SIMPERSONA_CLICKHOUSE": clickhouse, "SIMPERSONA_CATALOGUE": str(catalogue)}
    web = WebPages.start(tmp_path / "web.log", addresses)
    try:
        web.wait_ready()
        yield web.base
    finally:
        web.child.stop()

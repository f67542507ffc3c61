"""Which actions a page offers a shopper, and what each of them takes: something to click, choose or type."""

from dataclasses import dataclass

from agent_runtime.browser.memory import Memory
from agent_runtime.browser.observation import Element, Observation
from agent_runtime.storefront.actions import ACTION_INDEX, Action

#: The quantity chosen where more than one is wanted.
SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Move:
    """One thing to do on the page: click ``element``; before that choose ``quantity``, or type ``text`` instead.

    ``weight`` says how likely it is among moves that are the same action: what stands first is taken more often.
    """

    element: Element
    weight: float = 1.0
    quantity: tuple[Element, int] | None = None
    text: str | None = None


Offers = dict[int, list[Move]]


def offers(page: Observation, memory: Memory, queries: dict[str, float]) -> Offers:
    """Return the moves of a page by action (a place in ``ACTIONS``).

    queries  what this shop is searched for, with weights
    """
    events = memory.capabilities.events
    found: Offers = {}

    def offer(action: Action, move: Move) -> None:
        if action.event in events:
            found.setdefault(ACTION_INDEX[action.name], []).append(move)

    for shown in page.shown:
        for action in memory.views(shown.product_id, shown.category, shown.price_minor):
            offer(action, Move(shown.link, 1.0 / (shown.rank + 1)))
    for category, element in page.categories:
        offer(memory.enters(category), Move(element))
    for rank, (product, element) in enumerate(page.adding):
        offer(memory.adds(product, 1), Move(element, 1.0 / (rank + 1)))
    if page.own_add is not None:
        offer(memory.adds(page.subject, 1), Move(page.own_add))
        if page.quantity is not None and memory.capabilities.fills("product_added_to_cart", "quantity"):
            offer(memory.adds(page.subject, SEVERAL), Move(page.own_add, quantity=(page.quantity, SEVERAL)))
    for _, element in page.removing:
        offer(Action("product_removed_from_cart"), Move(element))
    if page.search is not None:
        for text, weight in {**queries, **({memory.query: 1.0} if memory.query else {})}.items():
            offer(memory.searches(text), Move(page.search, weight, text=text))
    for event, step in (
        ("page_viewed", page.home),
        ("cart_viewed", page.cart),
        ("checkout_started", page.checkout),
        ("payment_info_submitted", page.pay),
        ("checkout_completed", page.order),
    ):
        if step is not None:
            offer(Action(event), Move(step))
    return found

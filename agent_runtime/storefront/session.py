"""One simulated session: who it was meant to be, what it did, and its clicks as events of the contract."""

from dataclasses import dataclass

from agent_runtime.storefront.click import Click

#: Version of the ClickEvent contract that simulated clicks are written in.
SCHEMA_VERSION = 1

#: How far a session came, deepest first: the first event of these that happened names the outcome.
OUTCOMES = (
    ("checkout_completed", "purchase"),
    ("checkout_started", "checkout"),
    ("product_added_to_cart", "cart"),
    ("product_viewed", "product"),
)
BROWSED = "browse"


@dataclass(frozen=True, slots=True)
class PlayedSession:
    """``clicks[i]`` happened at ``times_ms[i]`` (UTC, strictly rising).

    agent      number of the shopper in its run
    code       buyer type it was given; ``code_path`` the same in words
    actions    places in ``ACTIONS``, one a click
    left       False when the session was cut at the length limit instead of the shopper leaving
    crashed    the shopper got stuck on a page; an in-process storefront has nothing that could crash
    """

    agent: int
    code: int
    code_path: str
    device: str
    referrer: str
    actions: tuple[int, ...]
    clicks: tuple[Click, ...]
    times_ms: tuple[int, ...]
    left: bool
    crashed: bool = False

    @property
    def outcome(self) -> str:
        """Return how far the session came: purchase, checkout, cart, product or browse."""
        happened = {click.event for click in self.clicks}
        return next((outcome for event, outcome in OUTCOMES if event in happened), BROWSED)


def client_id(run_id: str, agent: int) -> str:
    """Return the client id of a simulated shopper; no real pseudonym looks like it."""
    return f"sim-{run_id}-{agent}"


def click_events(
    session: PlayedSession, run_id: str, merchant_id: str, currency: str | None
) -> list[dict[str, object]]:
    """Return a session's clicks as ClickEvents in order, ready for ``schemas.click_codec.encode_click``.

    A simulated click is received the moment it happens. The referrer belongs to the click that came from it: the first.
    """
    client = client_id(run_id, session.agent)
    return [
        {
            "event_id": f"{client}-{place}",
            "merchant_id": merchant_id,
            "client_id": client,
            "event_name": click.event,
            "occurred_at": t_ms,
            "received_at": t_ms,
            "product_id": click.product_id,
            "category": click.category,
            "price_minor": click.price_minor,
            "currency": currency if click.price_minor is not None else None,
            "quantity": click.quantity,
            "query": click.query,
            "url_path": click.url_path,
            "referrer_kind": session.referrer if place == 0 and session.referrer != "unknown" else None,
            "device": session.device if session.device != "unknown" else None,
            "is_bot": False,
            "schema_version": SCHEMA_VERSION,
            "properties": {},
        }
        for place, (click, t_ms) in enumerate(zip(session.clicks, session.times_ms, strict=True))
    ]

"""A click as the storefront makes it, before it has a time and a shopper."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Click:
    """Columns as in ClickEvent; None where the shop's clicks of this event do not carry the column."""

    event: str
    product_id: str | None
    category: str | None
    price_minor: int | None
    quantity: int | None
    query: str | None
    url_path: str


def page_path(event: str, product_id: str | None, category: str | None) -> str:
    """Return the path of the page that an event happens on."""
    match event:
        case "collection_viewed":
            return f"/collections/{category or 'all'}"
        case "search_submitted":
            return "/search"
        case "product_viewed":
            return f"/products/{product_id}"
        case "product_added_to_cart" | "product_removed_from_cart" | "cart_viewed":
            return "/cart"
        case "checkout_started" | "payment_info_submitted" | "checkout_completed":
            return "/checkout"
    return "/"

"""What a shopper sees of a page: its accessibility tree, read as products, links, buttons and dialogs.

The tree comes as Playwright's YAML (``Page.aria_snapshot``), the roles and names that a screen reader would tell, with
a reference to each element. Nothing is read that it would not tell: no classes, no data attributes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

_NODE = re.compile(r'(?P<role>\w+)(?: "(?P<name>(?:[^"\\]|\\.)*)")?(?:.*\[ref=(?P<ref>\w+)\])?')
_PRICE = re.compile(r"(\d+)\.(\d\d)(?: \w+)?")
_ADD_ITEM, _REMOVE_ITEM = re.compile(r"Add (.+) to cart"), re.compile(r"Remove (.+)")
_SEPARATOR = " · "
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Element:
    """Something to click or type into: what it is called, and the snapshot's reference to it."""

    name: str
    ref: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A product on the page. ``price_minor`` None when the page does not tell it; ``rank`` 0 is shown first."""

    product_id: str
    title: str
    category: str | None
    price_minor: int | None
    rank: int
    link: Element


@dataclass(frozen=True, slots=True)
class Observation:
    """One page. Elements are None where the page has none.

    page       home, collection, search, product, cart, checkout, review, thanks
    subject    the product or category that the page is about, "" for none
    adding     products that a button puts into the cart, with that button; the page's own has a quantity beside it
    removing   products that can be taken out of the cart
    """

    page: str
    subject: str
    shown: tuple[Shown, ...] = ()
    categories: tuple[tuple[str | None, Element], ...] = ()
    adding: tuple[tuple[str, Element], ...] = ()
    removing: tuple[tuple[str, Element], ...] = ()
    own_add: Element | None = None
    quantity: Element | None = None
    search: Element | None = None
    home: Element | None = None
    cart: Element | None = None
    checkout: Element | None = None
    pay: Element | None = None
    order: Element | None = None
    dialog: Element | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the page as compact JSON: what it shows and which steps it offers."""
        steps = {name: getattr(self, name) for name in ("search", "home", "cart", "checkout", "pay", "order")}
        return {
            "page": self.page,
            "subject": self.subject,
            "shown": [[s.product_id, s.category, s.price_minor, s.rank] for s in self.shown],
            "categories": [name for name, _ in self.categories],
            "steps": [name for name, element in steps.items() if element is not None],
            "cart": [product for product, _ in self.removing],
        }


def observe(snapshot: str, address: str) -> Observation:
    """Return what an accessibility tree tells of the page at ``address``."""
    page, subject = _page_of(address)
    fields: dict[str, Any] = {}
    shown: list[Shown] = []
    categories, adding, removing = [], [], []
    for role, element, url, regions in _nodes(yaml.load(snapshot, _LOADER) or [], ()):
        name = element.name
        if "dialog" in regions:
            if role == "button":
                fields["dialog"] = element  # the last one lies on top
            continue
        kind, about = _page_of(url) if url else ("", "")
        match role:
            case "link" if kind == "product":
                shown.append(_shown(element, about, len(shown)))
            case "link" if kind == "collection":
                categories.append((None if about == "all" else about, element))
            case "link" if kind in ("home", "cart", "checkout") and "paragraph" not in regions:
                fields.setdefault(kind, element)
            case "link" if kind == "thanks":
                fields.setdefault("order", element)
            case "button" if name == "Submit payment":
                fields.setdefault("pay", element)
            case "button" if name == "Add to cart":
                fields.setdefault("own_add", element)
            case "button":
                if (add := _ADD_ITEM.fullmatch(name)) is not None:
                    adding.append((add[1], element))
                elif (remove := _REMOVE_ITEM.fullmatch(name)) is not None:
                    removing.append((remove[1], element))
            case "combobox" | "textbox" | "searchbox" if name == "Search":
                fields.setdefault("search", element)
            case "combobox" if name == "Quantity":
                fields.setdefault("quantity", element)
    return Observation(page, subject, tuple(shown), tuple(categories), tuple(adding), tuple(removing), **fields)


def _nodes(items: Any, regions: tuple[str, ...]) -> Iterator[tuple[str, Element, str, tuple[str, ...]]]:
    """Walk the tree in order; yield each element's role, the element, its link target and the roles around it."""
    for item in items:
        head, below = next(iter(item.items())) if isinstance(item, dict) else (item, None)
        found = _NODE.match(str(head))
        if found is None:  # a property such as /url, read with its element
            continue
        children = below if isinstance(below, list) else []
        url = next((str(child["/url"]) for child in children if isinstance(child, dict) and "/url" in child), "")
        name = re.sub(r"\\(.)", r"\1", found["name"] or "")
        yield found["role"], Element(name, found["ref"] or ""), url, regions
        yield from _nodes(children, (*regions, found["role"]))


def _page_of(address: str) -> tuple[str, str]:
    """Return kind and subject of the page at an address of the storefront."""
    parts = urlsplit(address)
    _, _, rest = parts.path.partition("/shop/")
    _, _, rest = rest.partition("/")
    kind, _, subject = rest.partition("/")
    if kind == "search":
        return kind, parse_qs(parts.query).get("q", [""])[0]
    if not rest:
        return ("home" if "/shop/" in parts.path else ""), ""
    return kind, unquote(subject)


def _shown(element: Element, product_id: str, rank: int) -> Shown:
    title, *told = element.name.split(_SEPARATOR)
    price = next((found for part in told if (found := _PRICE.fullmatch(part))), None)
    category = next((part for part in told if not _PRICE.fullmatch(part.removeprefix("was "))), None)
    minor = None if price is None else int(price[1]) * _PERCENT + int(price[2])
    return Shown(product_id, title, category, minor, rank, element)


#: LibYAML's loader where there is one: ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

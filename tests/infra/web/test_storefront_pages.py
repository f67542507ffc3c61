"""The storefront's addresses: merchants of any name, and what is answered where there is no page."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.request import urlopen

import pytest
from markupsafe import escape
from starlette.applications import Starlette
from starlette.testclient import TestClient

from agent_runtime.storefront.address import segment_of
from infra.web.alone import storefront_alone
from infra.web.app import build_web
from infra.web.catalogue import Assortment, Product, Shops
from infra.web.storefront import Storefront
from schemas.settings import Settings

NAMES = (
    "shop", "a/b", "Käse & Brot", "what?now", "hash#tag", "100%41", "100A", "a%2Fb", "..", ".", "cart",
    'O\'Neil "quoted"', "<img src=x onerror=alert(1)>", "日本",
)  # fmt: skip
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The storefronts of all of them, over a real connection: clients without one decode addresses as they like."""
    products = tuple(Product(f"p{i}/ä?#%2", f"Cup {i}", "bags & co/sub", 100 + i, "EUR", i) for i in range(3))
    with storefront_alone(Shops(dict.fromkeys(NAMES, Assortment(products)))) as address:
        yield address.removesuffix("/shop")


def read(address: str) -> str:
    with urlopen(address) as page:
        return str(page.read().decode())


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_merchant_of_any_name_leads_to_a_page_of_its_own(site: str, name: str) -> None:
    title = f"<title>{escape(name)} – demo storefront</title>"
    first = NAMES[0] if name != NAMES[0] else NAMES[1]
    others = links(read(f"{site}/shop/{segment_of(first)}"))
    page = read(site + next(link for link, text in others if text == name))
    assert title in page
    own = [link for link, text in links(page) if text not in set(NAMES) - {name} and text != "Dashboard"]
    assert len(own) > 5
    assert [link for link in own if title not in read(site + link)] == []


def links(page: str) -> list[tuple[str, str]]:
    """Return address and text of every link and form of a page."""
    anchors = re.findall(r'<a [^>]*href="([^"]+)"[^>]*>(.*?)</a>', page)
    forms = [(address, "") for address in re.findall(r'<form action="([^"]+)"', page)]
    return [(unescape(address), unescape(re.sub("<[^>]+>", "", text))) for address, text in anchors + forms]


@pytest.mark.parametrize("address", [f"/shop/{MARKUP}", f"/shop/shop/{MARKUP}", f"/shop/shop/product/{MARKUP}"])
def test_what_is_not_there_is_told_as_plain_text_that_no_browser_takes_for_markup(address: str) -> None:
    products = (Product("p1", "Cup", "cups", 100, "EUR", 0),)
    app = Starlette(routes=Storefront(Shops({"shop": Assortment(products)})).routes())
    answer = TestClient(app).get(address)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("address", ["/shop", "/shop/north", "/shop/north/product/p1"])
def test_without_a_catalogue_the_storefront_says_which_setting_is_missing(address: str) -> None:
    answer = TestClient(build_web(Settings())).get(address)
    assert answer.status_code == 404
    assert answer.text.startswith("There is no storefront: start the web pages with SIMPERSONA_CATALOGUE naming ")

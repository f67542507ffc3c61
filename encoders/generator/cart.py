"""What a shopper does with a cart: look into it, take something out, try to buy."""

import math

import numba

from encoders.generator import raw_events as raw
from encoders.generator.browsing import write
from encoders.generator.randomness import uniform
from encoders.generator.scene import MAX_EVENTS, Scene
from encoders.generator.tempo import wait

#: Chance that the dearest line goes when something is taken out; else any.
_DEAREST_GOES = 0.6


@numba.njit(cache=True, nogil=True)
def open_cart(scene: Scene) -> None:
    """Look into the cart."""
    _write_total(scene, raw.CART)


@numba.njit(cache=True, nogil=True)
def take_out(scene: Scene) -> None:
    """Take one line out of the cart."""
    at, cart = scene.at[0], scene.cart
    chosen = int(uniform(scene.state) * at["lines"])
    if uniform(scene.state) < _DEAREST_GOES:
        for line in range(at["lines"]):
            if cart[line]["price_minor"] > cart[chosen]["price_minor"]:
                chosen = line
    product = cart[chosen]["product"]
    row = write(scene, raw.REMOVE)
    category = scene.products[product]["category"]
    raw.put_product(scene.out, row, product, category, cart[chosen]["price_minor"], cart[chosen]["units"])
    at["lines"] -= 1
    last = cart[at["lines"]]
    cart[chosen]["product"] = last["product"]
    cart[chosen]["units"] = last["units"]
    cart[chosen]["price_minor"] = last["price_minor"]


@numba.njit(cache=True, nogil=True)
def check_out(scene: Scene) -> None:
    """Try to buy: checkout, payment details where the shop asks for them, completion; give up at any step."""
    at = scene.at[0]
    at["attempts"] += 1
    _write_total(scene, raw.CHECKOUT)
    ease = scene.effect[0]["checkout"] * math.exp(scene.me["to_shipping"] * scene.shop["shipping"])
    for step in (raw.PAYMENT, raw.COMPLETED):
        chance = scene.me["proceed"] if step == raw.PAYMENT else scene.me["complete"]
        # The shopper's effect acts on the odds, so that chances stay chances.
        odds = ease * math.exp(scene.me["to_step"] * scene.shop["short"]) if step == raw.PAYMENT else ease
        chance = chance * odds / (1.0 - chance + chance * odds)
        if uniform(scene.state) >= chance:
            return
        if step == raw.PAYMENT and not scene.shop["has_payment"]:
            continue
        if at["row"] >= at["first_row"] + MAX_EVENTS or not wait(scene):
            return
        _write_total(scene, step)
    at["bought"] = True


@numba.njit(cache=True, nogil=True)
def _write_total(scene: Scene, event: int) -> None:
    """Write an event about the whole cart: one unit at the price of everything in it."""
    total = 0
    for line in range(scene.at[0]["lines"]):
        total += scene.cart[line]["units"] * scene.cart[line]["price_minor"]
    row = write(scene, event)
    scene.out[row]["price_minor"] = total
    scene.out[row]["quantity"] = 1

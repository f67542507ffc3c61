"""Where a merchant's demo storefront lies: its name as one segment of an address, and back.

Servers decode an address before they cut it at slashes, and browsers walk up at dots even where these are encoded. A
name's own ``%``, ``/`` and, where it is nothing else, ``.`` are therefore encoded twice; all other names look as usual.
"""

from urllib.parse import quote, unquote


def segment_of(merchant_id: str) -> str:
    """Return a merchant's segment of an address, quoted: ``/shop/<segment>`` is its home."""
    own = merchant_id.replace("%", "%25").replace("/", "%2F")
    if own in (".", ".."):
        own = own.replace(".", "%2E")
    return quote(own)


def merchant_of(segment: str) -> str:
    """Return the merchant of a segment that the server has decoded once."""
    return unquote(segment)

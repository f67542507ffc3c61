"""What the encoder's features are called and mean: the contract between an encoder and the code that feeds it.

``encoders.feature_kernel`` compiles these names into places. numba's cache watches that file alone, so a change here
has to touch it too (a new feature does so anyway: something must write it).
"""

import hashlib
import json

from schemas.taxonomy import DEVICES, EVENT_NAMES, REFERRERS

#: Raised whenever a value below changes its meaning; an encoder trained on another revision is refused.
FEATURE_REVISION = 3

#: Upper bounds of the pause buckets in seconds; the last bucket is open, a session's first token is in none.
GAP_BOUNDS_S = (2.0, 6.0, 15.0, 40.0, 120.0, 600.0)
#: A pause under the first is a flick, from the second on a break.
QUICK_S, BREAK_S = 6.0, 120.0
#: Distinct products, categories and queries remembered; later ones in a very long session all count as new.
MEMORY = 128
#: Ratios of prices are clipped to e^±3, beyond which a price is a typing error.
LOG_RATIO_LIMIT = 3.0

#: Of every event, relative to the session so far.
TOKEN_FEATURES = (
    *(f"is_{name}" for name in EVENT_NAMES[1:]),
    *(f"gap_bucket_{bucket}" for bucket in range(len(GAP_BOUNDS_S) + 1)),
    "log_gap",
    "log_elapsed",
    "log_position",
    "product_new",
    "product_same",  # as the event before it that had a product
    "product_return",  # to one seen earlier
    "log_product_visits",
    "category_new",
    "category_same",
    "category_return",
    "query_new",  # the session's first
    "query_same",
    "query_refined",  # any other
    "has_price",
    "price_to_mean",  # log ratio to the mean of the products viewed so far
    "price_to_previous",
    "price_lowest",
    "price_highest",
    "log_cart",
    "log_quantity",
    "session_ended",  # alone in a token of its own, behind the last event of a session that is over
)

#: Of a whole session (or its beginning): how it behaved.
SUMMARY_FEATURES = (
    *(f"log_{name}" for name in EVENT_NAMES[1:]),
    "log_events",
    "log_duration",
    "mean_log_gap",
    "std_log_gap",
    "max_log_gap",
    "quick_share",
    "break_share",
    "log_products",
    "product_same_share",
    "product_return_share",
    "log_top_product_visits",
    "log_categories",
    "category_switch_share",
    "log_queries",
    "query_refined_share",
    "priced",
    "price_spread",
    "price_trend",
    "price_below_mean_share",
    "price_put_in_cart",
    "log_views_before_cart",
    "log_cart_wait",
    "log_max_quantity",
    *(f"referrer_{name}" for name in REFERRERS[1:]),
)

#: Of a whole session: when and on what it came. These mark a person rather than a behaviour: an encoder that sees them
#: tells buyers apart by their phone and their day off. They describe codes; the encoder does not read them.
CONTEXT_FEATURES = ("hour_sin", "hour_cos", "weekend", *(f"device_{name}" for name in DEVICES[1:]))

TOKEN_WIDTH = len(TOKEN_FEATURES)
SUMMARY_WIDTH = len(SUMMARY_FEATURES)
CONTEXT_WIDTH = len(CONTEXT_FEATURES)


def feature_spec_hash() -> str:
    """Return the SHA-256 of everything that fixes the features' meaning: an encoder and its input must agree on it."""
    names = [TOKEN_FEATURES, SUMMARY_FEATURES, CONTEXT_FEATURES]
    limits = [GAP_BOUNDS_S, QUICK_S, BREAK_S, MEMORY, LOG_RATIO_LIMIT]
    return hashlib.sha256(json.dumps([FEATURE_REVISION, names, limits]).encode()).hexdigest()

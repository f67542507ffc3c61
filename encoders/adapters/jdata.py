"""JData (JD.com 2017 contest) JData_Action_*.csv: actions on products with times of one second, China time.

Types: 1 browse, 2 add to cart, 3 remove from cart, 4 order, 5 follow, 6 click on the product page. A page seen comes as
browse and clicks of the same second: they are one view. A follow has no counterpart among the canonical events.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import local_ms, properties

#: China has had one zone and no summer time since 1991.
_CHINA_OFFSET_MS = 8 * 3_600_000

ADAPTER = Adapter(
    name="jdata",
    about="JData, JD.com 2017 (JData_Action_201602.csv …)",
    events={
        "1": "product_viewed",
        "2": "product_added_to_cart",
        "3": "product_removed_from_cart",
        "4": "checkout_completed",
        "5": "",
        "6": "product_viewed",
    },
    layouts=(
        Layout(
            columns=("user_id", "sku_id", "time", "model_id", "type", "cate", "brand"),
            values={
                # Some of the files write user ids as decimals ("266079.0").
                "client_id": "regexp_replace(userid, '\\.0$', '')",
                "raw_event": "type",
                "occurred_text": "time",
                "occurred_ms": local_ms(
                    "time", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", offset_ms=_CHINA_OFFSET_MS
                ),
                "product_id": "skuid",
                "category": "cate",
                "properties": properties({"brand": "brand"}),
                "group_key": "CASE WHEN type IN ('1', '6') THEN concat_ws(' ', 'view', time, skuid) "
                "WHEN type = '4' THEN concat_ws(' ', 'order', time) END",
            },
            required=("product_id",),
        ),
    ),
)

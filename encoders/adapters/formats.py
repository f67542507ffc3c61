"""The formats that ``import`` knows."""

from encoders.adapters import (
    diginetica,
    eshop2008,
    ga360,
    jdata,
    jsonl,
    otto,
    rees46,
    retailrocket,
    taobao,
    yoochoose,
)
from encoders.adapters.adapter import Adapter
from encoders.errors import RawLogError

_MODULES = (rees46, retailrocket, ga360, eshop2008, otto, yoochoose, diginetica, taobao, jdata, jsonl)

#: Name -> adapter.
FORMATS: dict[str, Adapter] = {module.ADAPTER.name: module.ADAPTER for module in _MODULES}


def adapter_of(name: str) -> Adapter:
    """Return a format's adapter. Raises RawLogError naming the known ones."""
    try:
        return FORMATS[name]
    except KeyError:
        raise RawLogError(f"Format {name!r} is not known; choose one of {', '.join(FORMATS)}.") from None

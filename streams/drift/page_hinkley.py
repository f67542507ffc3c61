"""river's Page-Hinkley test without the rest of river.

``import river.drift`` also loads river's data sets, and with them scikit-learn, pandas and scipy's statistics: 3.5 CPU
seconds in every worker at every start. The test itself is one small file.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def _load() -> Any:
    river = find_spec("river")
    if river is None or river.origin is None:
        raise ImportError("The package river is not installed.")
    spec = spec_from_file_location("river.drift.page_hinkley", Path(river.origin).parent / "drift" / "page_hinkley.py")
    if spec is None or spec.loader is None:
        raise ImportError("The installed river has no drift/page_hinkley.py.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PageHinkley


#: https://riverml.xyz/latest/api/drift/PageHinkley/
PageHinkley: Any = _load()

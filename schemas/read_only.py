"""What compiled loops read."""

from typing import Any, TypeVar

import numpy.typing as npt

Array = TypeVar("Array", bound=npt.NDArray[Any])


def read_only(array: Array) -> Array:
    """Return a view of an array that may not be written through.

    To numba that is a type of its own: a loop that was compiled for bytes as they were fetched would be compiled again,
    for seconds, for the same bytes put together from two fetches. Pass what a loop only reads through here.
    """
    view = array.view()
    view.flags.writeable = False
    return view

"""A table as compiled code passes it on: one address, from which the arrays' own addresses are read where needed.

numba passes every array of a tuple by value, seven words each, at every call that it does not inline, and counts each
of them up and down, atomically. With a dozen arrays that was two thirds of what putting one event in its place cost.
"""

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import typeof
from numba.core import types
from numba.core.imputils import impl_ret_untracked, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr as attributes_of
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import populate_array

from streams.sessions.table import ARRAYS, Table

_TYPES = {name: typeof(np.empty(0, dtype)) for name, dtype in ARRAYS.items()}
_PLACES = {name: place for place, name in enumerate(ARRAYS)}


class LentTable(types.Type):  # type: ignore[misc]
    """The type of a lent table; its attributes are those of ``Table``."""

    def __init__(self) -> None:
        super().__init__(name="LentTable")


lent_table = LentTable()


@register_model(LentTable)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@attributes_of
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = LentTable

    def generic_resolve(self, _: Any, name: str) -> Any:
        return _TYPES.get(name)


@lower_getattr_generic(LentTable)  # type: ignore[untyped-decorator]
def _array(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    """Make an uncounted array of the address and length that ``Table.places`` holds."""
    array_type = _TYPES[name]
    word = ir.IntType(64)
    places = builder.inttoptr(value, word.as_pointer())

    def read(place: int) -> Any:
        loaded = builder.load(builder.gep(places, [ir.Constant(word, place)]))
        # Tables never move, so a loop may keep what it has read.
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded

    array = context.make_array(array_type)(context, builder)
    size = context.get_constant(types.intp, np.dtype(ARRAYS[name]).itemsize)
    data = builder.inttoptr(read(2 * _PLACES[name]), array.data.type)
    populate_array(array, data=data, shape=[read(2 * _PLACES[name] + 1)], strides=[size], itemsize=size, meminfo=None)
    return impl_ret_untracked(context, builder, array_type, array._getvalue())


@intrinsic  # type: ignore[untyped-decorator]
def _lend(context: Any, places: Any) -> Any:
    """Return the address of the list of places as a lent table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(value.data, ir.IntType(64))

    return lent_table(places), generate


@nb.njit(cache=True, nogil=True)
def lent(table: Table) -> Table:
    """Lend a table to what a compiled loop calls: the first thing that every one called from outside does."""
    lent_out: Table = _lend(table.places)
    return lent_out

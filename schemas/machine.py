"""What numba has no name for: moving bytes, asking for a cache line ahead of its use, leaving arrays uncounted."""

from typing import Any

import numba as nb
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

#: Compiles a function that allocates nothing, and refuses one that does. Its arrays are the caller's, so they are not
#: counted either: a NamedTuple of a dozen arrays is otherwise counted up and down, atomically, at every call.
allocation_free = nb.njit(cache=True, nogil=True, _nrt=False)


@intrinsic  # type: ignore[untyped-decorator]
def move_bytes(context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy ``count`` bytes between two addresses; the two stretches may overlap (C's memmove)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, origin = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memmove(builder, to, origin, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(context: Any, address: Any) -> Any:
    """Start loading the cache line at an address; any address will do, a wrong one costs nothing but the time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # For reading, to be kept in all levels of cache, data.
        builder.call(function, [builder.inttoptr(arguments[0], byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def address(context: Any, array: Any) -> Any:
    """Return the address of an array's first element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(value.data, context.get_value_type(types.intp))

    return types.intp(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def uncounted(context: Any, array: Any) -> Any:
    """Return an array without its reference count, for use while the caller holds the array itself.

    numba counts every array up and down, atomically, at every call that is not inlined: with a dozen arrays in a table
    that is most of what putting one event in its place costs.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = context.make_array(signature.args[0])(context, builder, arguments[0])
        value.meminfo = cgutils.get_null_value(value.meminfo.type)
        value.parent = cgutils.get_null_value(value.parent.type)
        return value._getvalue()

    return array(array), generate


@nb.njit(cache=True, nogil=True, inline="always")
def copy_bytes(out: npt.NDArray[Any], at: int, source: npt.NDArray[Any], start: int, count: int) -> None:
    """Copy ``count`` bytes (none if negative) of one array to a place in another; both places are counted in bytes.

    A loop over bytes takes six to twenty times as long: numba does not see that it is one stretch.
    """
    if count > 0:
        move_bytes(address(out) + at, address(source) + start, count)

"""The inner loop of every network: eight rows by sixteen outputs, whose sums stay in registers.

From a loop over arrays the compiler makes code that writes each sum to memory and reads it back for every
few products; that is three to four times slower. So this one loop is handed over as vectors. It reorders no
addition and fuses none: a sum is the bias, then one product after the other, in the order of the inputs,
whatever the processor and whatever stands in the other rows.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from einthoven.signal.kernel import part

__all__ = ["LANES", "ROWS", "dense", "in_whole_lanes", "rectify", "whole"]

LANES: Final = 16
"""Outputs side by side."""
ROWS: Final = 8
"""Rows that share what was read of the weights."""
_VECTOR: Final = ir.VectorType(ir.FloatType(), LANES)
_NUMBER: Final = ir.IntType(64)


def in_whole_lanes(weights: NDArray[np.float32], sizes: Sequence[int]) -> NDArray[np.float32]:
    """The layers of one network as `dense` reads them: each its bias, then its matrix, in whole lanes.

    ``weights`` holds the matrix (in, out) of each layer, row by row, and then its bias; ``sizes`` are the
    widths, input first.
    """
    layers = []
    at = 0
    for inputs, width in pairwise(sizes):
        rows = np.zeros((1 + inputs, -(-width // LANES) * LANES), np.float32)
        bias = at + inputs * width
        rows[0, :width] = weights[bias : bias + width]
        rows[1:, :width] = weights[at:bias].reshape(inputs, width)
        layers.append(rows.ravel())
        at = bias + width
    return np.concatenate(layers)


@part
def whole(count, unit):  # type: ignore[no-untyped-def]
    """The least multiple of ``unit`` that is not less than ``count``."""
    return (count + unit - 1) // unit * unit


@part
def dense(x, count, inputs, layers, at, width, out):  # type: ignore[no-untyped-def]
    """``out`` = ``x`` times the layer that begins ``at`` of ``layers``, plus its bias; where the next begins.

    ``x`` and ``out`` have room for whole `ROWS` of rows, and ``out`` for whole `LANES` of columns.
    """
    stride = whole(width, LANES)
    for row in range(0, count, ROWS):
        for column in range(0, stride, LANES):
            _tile(
                x,
                row * x.shape[1],
                x.shape[1],
                inputs,
                layers,
                at + column,
                stride,
                out,
                row * out.shape[1] + column,
                out.shape[1],
            )
    return at + (1 + inputs) * stride


@part
def rectify(values, count, width):  # type: ignore[no-untyped-def]
    """Negative values become 0."""
    for k in range(count):
        row = values[k, :width]
        for o in range(row.size):
            row[o] = max(row[o], np.float32(0))


def _typed(_, x, x_at, x_stride, inputs, layer, at, stride, out, out_at, out_stride):  # type: ignore[no-untyped-def]
    return types.void(x, x_at, x_stride, inputs, layer, at, stride, out, out_at, out_stride), _emit


def _emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    def data(position: int) -> Any:
        return context.make_array(signature.args[position])(context, builder, args[position]).data

    def vector_at(array: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(array, [offset]), _VECTOR.as_pointer())

    x, layer, out = data(0), data(4), data(7)
    _, x_at, x_stride, inputs, _, at, stride, _, out_at, out_stride = args
    sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(ROWS)]  # type: ignore[no-untyped-call]
    rows = [builder.add(x_at, builder.mul(x_stride, _NUMBER(row))) for row in range(ROWS)]
    bias = builder.load(vector_at(layer, at), align=4)
    for one in sums:
        builder.store(bias, one)
    first = builder.add(at, stride)
    with cgutils.for_range(builder, inputs) as loop:
        weights = builder.load(vector_at(layer, builder.add(first, builder.mul(stride, loop.index))), align=4)
        for row, one in zip(rows, sums, strict=True):
            value = builder.load(builder.gep(x, [builder.add(row, loop.index)]))
            product = builder.fmul(_splat(builder, value), weights)
            builder.store(builder.fadd(builder.load(one), product), one)
    for row, one in enumerate(sums):
        into = builder.add(out_at, builder.mul(out_stride, _NUMBER(row)))
        builder.store(builder.load(one), vector_at(out, into), align=4)
    return context.get_dummy_value()


def _splat(builder: Any, value: Any) -> Any:
    """The value in every lane."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), lanes)


_tile: Final[Any] = intrinsic(_typed)
"""``out[row, lane] = layer[0, lane] + sum of x[row, i] * layer[1 + i, lane]``, from where each begins."""

"""One token of a small Llama, compiled, for many shoppers: each row's sums in one order, whoever is beside it."""

import math

import numba as nb
import numpy as np

from agent_runtime.models.llama_weights import F32, Weights
from schemas.events import I64

#: Rows that go through a matrix together, so that it is fetched once for all of them.
BLOCK = 8
#: Multiplications and additions may be one instruction; their order is never changed.
_FAST = {"contract"}
_UNROLLED = 4


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _times(inputs: F32, matrix: F32, outputs: F32, rows: int) -> None:
    """Write ``inputs`` (rows, K) times ``matrix`` (K, N), K a multiple of four, to ``outputs`` (rows, N)."""
    outputs[:rows] = np.float32(0.0)
    for k in range(0, matrix.shape[0], _UNROLLED):
        a, b, c, d = matrix[k], matrix[k + 1], matrix[k + 2], matrix[k + 3]
        for row in range(rows):
            x, y, z, w = inputs[row, k], inputs[row, k + 1], inputs[row, k + 2], inputs[row, k + 3]
            sums = outputs[row]
            for n in range(matrix.shape[1]):
                sums[n] = sums[n] + x * a[n] + y * b[n] + z * c[n] + w * d[n]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _normalised(inputs: F32, weight: F32, epsilon: np.float32, outputs: F32, rows: int) -> None:
    for row in range(rows):
        total = np.float32(0.0)
        for n in range(len(weight)):
            total += inputs[row, n] * inputs[row, n]
        scale = np.float32(1.0) / np.float32(math.sqrt(total / np.float32(len(weight)) + epsilon))
        for n in range(len(weight)):
            outputs[row, n] = inputs[row, n] * scale * weight[n]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _turned(vector: F32, cos: F32, sin: F32, heads: int) -> None:
    """Rotate a vector (D,) by its position, head by head (rotary embedding, arXiv 2104.09864)."""
    half = len(cos)
    for head in range(heads):
        first = head * 2 * half
        for at in range(half):
            low, high = vector[first + at], vector[first + half + at]
            vector[first + at] = low * cos[at] - high * sin[at]
            vector[first + half + at] = high * cos[at] + low * sin[at]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _attend(query: F32, keys: F32, values: F32, length: int, heads: int, scores: F32, out: F32) -> None:
    """Write what a query (D,) finds among keys (D, T) and values (T, D) up to ``length`` to ``out`` (D,)."""
    size = len(query) // heads
    scale = np.float32(1.0) / np.float32(math.sqrt(size))
    out[:] = np.float32(0.0)
    for head in range(heads):
        first = head * size
        scores[:length] = np.float32(0.0)
        for at in range(size):
            x, line = query[first + at] * scale, keys[first + at]
            for t in range(length):
                scores[t] += x * line[t]
        peak = scores[0]
        for t in range(1, length):
            peak = max(peak, scores[t])
        total = np.float32(0.0)
        for t in range(length):
            scores[t] = np.float32(math.exp(scores[t] - peak))
            total += scores[t]
        for t in range(length):
            share = scores[t] / total
            for at in range(first, first + size):
                out[at] += share * values[t, at]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def advance(
    weights: Weights,
    keys: F32,
    values: F32,
    words: I64,
    rows: I64,
    positions: I64,
    heads: int,
    epsilon: np.float32,
    hidden: F32,
) -> None:
    """Read one more word (n,) of each of ``rows`` (n,), the row's word number ``positions`` (n,).

    Writes the last layer's ``hidden`` (n, D). What stood at that place of keys and values is replaced.
    """
    width, inner = weights.embed.shape[1], weights.down.shape[1]
    x, normed = np.empty((BLOCK, width), np.float32), np.empty((BLOCK, width), np.float32)
    qkv, found = np.empty((BLOCK, 3 * width), np.float32), np.empty((BLOCK, width), np.float32)
    gate_up, gated = np.empty((BLOCK, 2 * inner), np.float32), np.empty((BLOCK, inner), np.float32)
    part, line = np.empty((BLOCK, width), np.float32), np.empty(values.shape[2], np.float32)
    for first in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - first)
        for at in range(count):
            x[at] = weights.embed[words[first + at]]
        for layer in range(len(weights.qkv)):
            _normalised(x, weights.norms[layer, 0], epsilon, normed, count)
            _times(normed, weights.qkv[layer], qkv, count)
            for at in range(count):
                row, position = rows[first + at], positions[first + at]
                cos, sin = weights.cos[position], weights.sin[position]
                _turned(qkv[at, :width], cos, sin, heads)
                _turned(qkv[at, width : 2 * width], cos, sin, heads)
                keys[row, layer, :, position] = qkv[at, width : 2 * width]
                values[row, layer, position] = qkv[at, 2 * width :]
                _attend(qkv[at, :width], keys[row, layer], values[row, layer], position + 1, heads, line, found[at])
            _times(found, weights.out[layer], part, count)
            for at in range(count):
                for n in range(width):
                    x[at, n] += part[at, n]
            _normalised(x, weights.norms[layer, 1], epsilon, normed, count)
            _times(normed, weights.gate_up[layer], gate_up, count)
            for at in range(count):
                for n in range(inner):
                    gate = gate_up[at, n]
                    gated[at, n] = gate / (np.float32(1.0) + np.float32(math.exp(-gate))) * gate_up[at, inner + n]
            _times(gated, weights.down[layer], part, count)
            for at in range(count):
                for n in range(width):
                    x[at, n] += part[at, n]
        _normalised(x, weights.norm, epsilon, hidden[first : first + count], count)


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def speak(hidden: F32, head: F32, scores: F32) -> None:
    """Write the scores (n, V) of the next word by ``hidden`` (n, D) and ``head`` (D, V)."""
    for first in range(0, len(hidden), BLOCK):
        count = min(BLOCK, len(hidden) - first)
        _times(hidden[first : first + count], head, scores[first : first + count], count)

"""Fits a ``Response`` to training sessions, the language model's own scores read out once and held fixed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agent_runtime.errors import TraceError
from agent_runtime.finetune import padded_batches
from agent_runtime.mix_fit import fit_mix
from agent_runtime.response import FEATURES, LEAVING, OUTCOME_OF_ACTION, OUTCOMES, Response, features, types_of
from agent_runtime.shop import Shop
from agent_runtime.traces import Traces, token_rows
from agent_runtime.vocabulary import TRAITS, Tokens, Vocabulary
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviations before any session was seen, in nats per standard deviation of a feature: of what all types have
#: in common, and of one type's own.
_SHARED, _OWN = 0.7, 0.2
_STEPS, _SETTLED = 8, 1e-4
_BATCH_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Moves:
    """``n`` decisions. chances (n, E) the model's own; chosen (n,) outcome; session (n,) row they belong to."""

    chances: F64
    chosen: I64
    session: I64


def learn_response(
    model: Any,
    vocabulary: Vocabulary,
    traces: Traces,
    shops: Mapping[str, Shop],
    device: torch.device,
    done: Callable[[int, int], None] = lambda done, planned: None,
) -> Response:
    """Return a trained model's response from the sessions it was trained on, at shops whose conditions were told.

    ``done(read, sessions)`` is called as sessions are read. Raises TraceError when the storefronts are all alike.
    """
    ours = [shops[merchant] for merchant in traces.merchants]
    rows = token_rows(traces, vocabulary, [shop.capabilities.flags() for shop in ours])
    names = types_of(vocabulary)
    coarse = np.array([names.index(path.partition(".")[0]) for path in vocabulary.code_paths])
    moves = read_moves(model, vocabulary, rows, device, done)
    told = np.array([features(shop) for shop in ours])
    merchant = traces.merchant.astype(np.int64)
    centre, shifts, spread = fit_shifts(moves, coarse[traces.code], merchant, told, len(names))
    mix, mix_spread = fit_mix(traces.code.astype(np.int64), coarse, merchant, told)
    return Response(centre, shifts, mix, spread.astype(np.float32), mix_spread.astype(np.float32))


@torch.no_grad()
def read_moves(
    model: Any,
    vocabulary: Vocabulary,
    rows: Sequence[Tokens],
    device: torch.device,
    done: Callable[[int, int], None] = lambda done, planned: None,
) -> Moves:
    """Return what the model foretold at every move of the sessions, in no order."""
    model.to(device).eval()
    first, end = vocabulary.ranges["action"]
    actions = torch.arange(first, end, device=device)
    to_outcome = torch.zeros(end - first, OUTCOMES, device=device)
    to_outcome[torch.arange(end - first), torch.from_numpy(OUTCOME_OF_ACTION)] = 1.0
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    read = 0
    for batch in padded_batches(rows, _BATCH_TOKENS, np.random.default_rng(0)):
        longest = max(len(rows[row]) for row in batch)
        ids = np.full((len(batch), longest), vocabulary.pad, np.int64)
        for place, row in enumerate(batch):
            ids[place, : len(rows[row])] = rows[row]
        start = vocabulary.prompt_length + TRAITS  # the first action; then every second token is a move
        logits = model(input_ids=torch.from_numpy(ids[:, :-1]).to(device), use_cache=False).logits
        # The first action stands alone, without a pause before it: moves are at start, start + 1, start + 3, …
        places = np.concatenate([[start], np.arange(start + 1, longest, 2)])
        wanted = ids[:, places]
        scores = logits[:, torch.from_numpy(places - 1).to(device)]
        moves = torch.cat([scores[..., actions], scores[..., vocabulary.leave : vocabulary.leave + 1]], dim=-1)
        chances = torch.softmax(moves.float(), dim=-1)
        by_outcome = chances[..., :-1] @ to_outcome
        by_outcome[..., LEAVING] += chances[..., -1]
        kept = wanted != vocabulary.pad
        outcome = np.where(
            wanted == vocabulary.leave, LEAVING, OUTCOME_OF_ACTION[np.clip(wanted - first, 0, end - first - 1)]
        )
        session = np.repeat(np.array(batch)[:, None], len(places), axis=1)
        parts.append((by_outcome.cpu().numpy()[kept], outcome[kept], session[kept]))
        read += len(batch)
        done(read, len(rows))
    chances_all, chosen, sessions = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Moves(np.maximum(chances_all.astype(np.float64), 1e-9), chosen, sessions)


def fit_shifts(moves: Moves, kind: I64, merchant: I64, told: F64, types: int) -> tuple[F64, F64, F64]:
    """Return the mean storefront, the posterior mode of the shifts, and a root of their covariance; see ``Response``.

    kind, merchant  (sessions,) coarse type and storefront of each session
    told            (M, X) the storefronts' features

    Newton's method on a convex loss. The covariance is the sandwich with storefronts as clusters (Liang and Zeger
    1986), the prior counted as one more: sessions of one storefront share what is not told of it, so there is less to
    learn from them than from as many strangers. Raises TraceError when the storefronts do not differ.
    """
    weight = np.bincount(merchant[moves.session], minlength=len(told)).astype(np.float64)
    centre = weight @ told / weight.sum()
    deviation = np.sqrt(weight @ (told - centre) ** 2 / weight.sum())
    if not (deviation > 0).any():
        raise TraceError("All storefronts are told to be alike, so nothing can be learnt of their conditions.")
    scale = np.where(deviation > 0, deviation, 1.0)
    x = ((told - centre) / scale)[merchant[moves.session]]
    owner, kinds = kind[moves.session], types
    block = len(FEATURES) * OUTCOMES
    mean = np.zeros((kinds + 1, block))  # what all have in common, then each type's own
    precision = np.diag(np.repeat([_SHARED**-2, *[_OWN**-2] * kinds], block))
    rows_of = [np.flatnonzero(owner == one) for one in range(kinds)]
    for _ in range(_STEPS):
        gradient, curvature = _slopes(moves, x, rows_of, mean)
        pull = precision @ mean.ravel()
        step = np.linalg.solve(curvature + precision, gradient - pull)
        mean += step.reshape(mean.shape)
        if np.abs(step).max() < _SETTLED:
            break
    _, curvature = _slopes(moves, x, rows_of, mean)
    clusters = _by_storefront(moves, x, rows_of, mean, merchant[moves.session], len(told))
    bread = np.linalg.inv(curvature + precision)
    # root of the sandwich: storefronts' slopes and the prior's, through the inverse curvature
    root = bread @ np.concatenate([clusters.T, np.sqrt(precision)], axis=1)
    total = np.concatenate([np.tile(np.eye(block), (kinds, 1)), np.eye(kinds * block)], axis=1)
    unscaled = np.tile(np.repeat(1.0 / scale, OUTCOMES), kinds)
    spread = unscaled[:, None] * (total @ root)
    shifts = unscaled * (total @ mean.ravel())
    return centre, shifts.reshape(kinds, len(FEATURES), OUTCOMES), spread


def _chances(moves: Moves, x: F64, rows: I64, shift: F64) -> F64:
    """Return the shifted chances (n, E) of one type's decisions; ``shift`` (X * E,)."""
    odds = moves.chances[rows] * np.exp(x[rows] @ shift.reshape(len(FEATURES), OUTCOMES))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _slopes(moves: Moves, x: F64, rows_of: list[I64], mean: F64) -> tuple[F64, F64]:
    """Return the log likelihood's gradient and negative Hessian in (common, each type's own)."""
    block, kinds = mean.shape[1], len(rows_of)
    gradient = np.zeros((kinds + 1, block))
    curvature = np.zeros((kinds + 1, block, kinds + 1, block))
    for one, rows in enumerate(rows_of, 1):
        chances = _chances(moves, x, rows, mean[0] + mean[one])
        gradient[one] = (x[rows].T @ (np.eye(OUTCOMES)[moves.chosen[rows]] - chances)).ravel()
        spread = (x[rows][:, :, None] * chances[:, None, :]).reshape(len(rows), block)
        pairs = (x[rows][:, :, None] * x[rows][:, None, :]).reshape(len(rows), -1)
        own = (pairs.T @ chances).reshape(len(FEATURES), len(FEATURES), OUTCOMES)
        hessian = np.einsum("xye,ef->xeyf", own, np.eye(OUTCOMES)).reshape(block, block) - spread.T @ spread
        for a in (0, one):
            for b in (0, one):
                curvature[a, :, b] += hessian
    gradient[0] = gradient[1:].sum(axis=0)
    size = (kinds + 1) * block
    return gradient.ravel(), curvature.reshape(size, size)


def _by_storefront(moves: Moves, x: F64, rows_of: list[I64], mean: F64, merchant: I64, storefronts: int) -> F64:
    """Return each storefront's part of the gradient, (M, (K + 1) * X * E)."""
    block = mean.shape[1]
    parts = np.zeros((storefronts, len(rows_of) + 1, block))
    for one, rows in enumerate(rows_of, 1):
        off = np.eye(OUTCOMES)[moves.chosen[rows]] - _chances(moves, x, rows, mean[0] + mean[one])
        sums = np.zeros((storefronts, OUTCOMES))
        np.add.at(sums, merchant[rows], off)  # features are the storefront's: they come out of the sum
        told = np.zeros((storefronts, len(FEATURES)))
        told[merchant[rows]] = x[rows]
        parts[:, one] = (told[:, :, None] * sums[:, None, :]).reshape(storefronts, block)
    parts[:, 0] = parts[:, 1:].sum(axis=1)
    return parts.reshape(storefronts, -1)

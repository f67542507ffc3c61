"""Fits a ``Response`` to training sessions, the language model's own scores read out once and held fixed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import block_diag

from agent_runtime.errors import TraceError
from agent_runtime.models.response import FEATURES, LEAVING, OUTCOME_OF_ACTION, OUTCOMES, Response, features, types_of
from agent_runtime.newton import least
from agent_runtime.simulators.finetune import padded_batches
from agent_runtime.simulators.mix_fit import fit_mix
from agent_runtime.simulators.shrinkage import Group, shrink
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import TRAITS, Tokens, Vocabulary
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviation of a shift before any session was seen, in nats per standard deviation of a feature: wide, for
#: ``shrink`` finds the one that holds.
_LOOSE = 0.7
_STEPS, _SETTLED = 20, 1e-4
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
    """Return the mean storefront, the shifts, and a root of their covariance; see ``Response``.

    kind, merchant  (sessions,) coarse type and storefront of each session
    told            (M, X) the storefronts' features

    Each type's shifts are fitted on their own, by Newton's method on a convex loss. Their noise is the sandwich with
    storefronts as clusters (Liang and Zeger 1986), the prior counted as one more: sessions of one storefront share what
    is not told of it. By that noise what conditions change of a move is drawn towards what all types have in common,
    and that towards zero. Raises TraceError when the storefronts do not differ.
    """
    weight = np.bincount(merchant[moves.session], minlength=len(told)).astype(np.float64)
    centre = weight @ told / weight.sum()
    deviation = np.sqrt(weight @ (told - centre) ** 2 / weight.sum())
    if not (deviation > 0).any():
        raise TraceError("All storefronts are told to be alike, so nothing can be learnt of their conditions.")
    scale = np.where(deviation > 0, deviation, 1.0)
    x = (told - centre) / scale
    fits = []
    for one in range(types):
        rows = np.flatnonzero(kind[moves.session] == one)
        fits.append(_fit_type(moves.chances[rows], moves.chosen[rows], x, merchant[moves.session[rows]]))
    shape = (types, len(FEATURES), OUTCOMES)
    # What the storefronts leave open is common to the types, what the priors do is each type's own.
    open_left = np.concatenate([part for _, part, _ in fits])
    noise = np.concatenate([open_left, block_diag(*(prior for _, _, prior in fits))], axis=1)
    # A shift of all outcomes alike says nothing, and is taken out, common ones counting for more.
    common = np.bincount(moves.chosen, minlength=OUTCOMES) / len(moves.chosen)
    apart = np.kron(np.eye(types * len(FEATURES)), np.eye(OUTCOMES) - common)
    shifts, noise = apart @ np.concatenate([shift for shift, _, _ in fits]), apart @ noise
    places = np.arange(shifts.size).reshape(shape)
    alike = np.ones((types, types)), np.eye(types)
    groups = [
        Group(places[:, feature, outcome], alike)
        for feature in np.flatnonzero(deviation > 0)
        for outcome in range(OUTCOMES)
    ]
    mean, root = shrink(shifts, noise, groups, _LOOSE)
    unscaled = np.broadcast_to(1.0 / scale[:, None], shape).ravel()
    return centre, (unscaled * mean).reshape(shape), unscaled[:, None] * root


def _fit_type(chances: F64, chosen: I64, x: F64, merchant: I64) -> tuple[F64, F64, F64]:
    """Return one type's shifts (X * E,), and roots of what storefronts (.., M) and prior (.., X * E) leave open.

    chances, chosen, merchant  of its decisions, as in ``Moves``; x (M, X)
    """
    of_move, size = x[merchant], x.shape[1] * OUTCOMES
    precision = np.full(size, _LOOSE**-2)
    taken, rows = np.eye(OUTCOMES)[chosen], np.arange(len(chosen))

    def loss(shift: F64) -> float:
        unlikely = -np.log(_chances(chances, of_move, shift)[rows, chosen]).sum()
        return float(unlikely + 0.5 * precision @ shift**2)

    def step(shift: F64) -> F64:
        shifted = _chances(chances, of_move, shift)
        gradient = (of_move.T @ (taken - shifted)).ravel() - precision * shift
        return np.asarray(np.linalg.solve(_curvature(of_move, shifted) + np.diag(precision), gradient))

    shift = least(np.zeros(size), loss, step, _STEPS, _SETTLED)
    shifted = _chances(chances, of_move, shift)
    off = np.zeros((len(x), OUTCOMES))
    np.add.at(off, merchant, taken - shifted)  # features are the storefront's: they come out of the sum
    slopes = (x[:, :, None] * off[:, None, :]).reshape(len(x), size)
    bread = np.linalg.inv(_curvature(of_move, shifted) + np.diag(precision))
    return shift, bread @ slopes.T, bread * np.sqrt(precision)


def _chances(chances: F64, x: F64, shift: F64) -> F64:
    """Return shifted chances (n, E) of decisions; ``x`` (n, X), ``shift`` (X * E,)."""
    odds = chances * np.exp(x @ shift.reshape(-1, OUTCOMES))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _curvature(x: F64, chances: F64) -> F64:
    """Return the log likelihood's negative Hessian in the shifts, (X * E, X * E)."""
    features, size = x.shape[1], x.shape[1] * OUTCOMES
    spread = (x[:, :, None] * chances[:, None, :]).reshape(len(x), size)
    pairs = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    own = (pairs.T @ chances).reshape(features, features, OUTCOMES)
    return np.asarray(np.einsum("xye,ef->xeyf", own, np.eye(OUTCOMES)).reshape(size, size) - spread.T @ spread)

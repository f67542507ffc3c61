"""Speed of the network in ONNX Runtime and in torch on one thread, cost of an event, and whether both say the same."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from bench.encoder_world import Part
from bench.report import Report
from encoders.export import to_onnx
from encoders.features import Features, session_features
from encoders.model import SessionEncoder
from encoders.serving import BATCH, Encoder
from encoders.sessionise import SessionLog
from schemas.events import I64, SessionBatch

Result = TypeVar("Result")

#: Longer sessions are left out.
EVENTS_MAX = 32


def measure_speed(report: Report, network: SessionEncoder, encoder: Encoder, part: Part, sessions: int) -> None:
    """Note the figures over up to ``sessions`` sessions of at most ``EVENTS_MAX`` events.

    Both run the same batches, sorted by length and trimmed; processor seconds of the whole process, features not
    counted. ``encode_us_per_event`` is everything (features, network, nearest code) for finished sessions;
    ``live_us_per_event`` is what a worker spends on a session that it encodes at each of its events but the first, as
    one that is still open, and again when it closes.
    """
    log = part.log.select(np.flatnonzero(part.log.lengths <= EVENTS_MAX)[:sessions])
    order = np.argsort(log.lengths, kind="stable")
    batches = []
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        ended = np.ones(len(rows), np.bool_)
        features = session_features(log.events, log.starts[rows], log.lengths[rows], ended)
        batches.append((features, (log.lengths[rows] + ended).astype(np.int32)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        by_torch, torch_s = _timed(lambda: _by_torch(network, batches))
    finally:
        torch.set_num_threads(threads)
    by_onnx, onnx_s = _timed(lambda: [encoder.run(features, counts)[0] for features, counts in batches])
    report.add("onnx_sessions_per_core_s", len(log) / onnx_s, "sessions/s")
    report.add("torch_sessions_per_core_s", len(log) / torch_s, "sessions/s")
    report.compare("onnx_sessions_per_core_s", "torch_sessions_per_core_s")
    lengths = log.lengths[order]
    same = _codes(encoder, by_onnx, lengths) == _codes(encoder, by_torch, lengths)
    report.add("onnx_equals_torch", float(same.mean()), "of codes")
    report.add("sessions_timed", float(len(log)), "sessions")
    report.add("network_bytes", float(len(to_onnx(network))), "bytes")

    events = int(log.lengths.sum())
    once_s = _timed(lambda: encoder.encode(log.batch()))[1]
    report.add("encode_us_per_event", 1e6 * once_s / events, "CPU-us")
    rounds = [_beginnings(log, length) for length in range(2, int(log.lengths.max()) + 1)]

    def follow() -> None:
        for begun in rounds:
            encoder.encode(begun, still_open=np.ones(len(begun), np.bool_))
        encoder.encode(log.batch(), still_open=np.zeros(len(log), np.bool_))

    live_s = _timed(follow)[1]
    report.add("live_us_per_event", 1e6 * live_s / events, "CPU-us")


def _beginnings(log: SessionLog, length: int) -> SessionBatch:
    """Return the first so many events of every session that has them."""
    starts = log.starts[log.lengths >= length]
    rows = (starts[:, None] + np.arange(length)).reshape(-1)
    return SessionBatch(log.events[rows], np.arange(len(starts) + 1, dtype=np.int64) * length)


@torch.no_grad()
def _by_torch(network: SessionEncoder, batches: list[tuple[Features, npt.NDArray[np.int32]]]) -> list[np.ndarray]:
    return [
        network(
            torch.from_numpy(features.tokens),
            torch.from_numpy(counts.astype(np.int64)),
            torch.from_numpy(features.summaries),
        ).numpy()
        for features, counts in batches
    ]


def _codes(encoder: Encoder, latents: list[np.ndarray], lengths: I64) -> np.ndarray:
    return encoder.codebook.assign(np.concatenate(latents), lengths).code


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return what ``work`` returns and its processor seconds, the second time it is done: the first warms up."""
    work()
    start = time.process_time()
    result = work()
    return result, time.process_time() - start

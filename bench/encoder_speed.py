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
from encoders.feature_spec import MAX_TOKENS
from encoders.features import Features, session_features, token_counts
from encoders.model import SessionEncoder
from encoders.serving import BATCH, Encoder
from schemas.events import I64

Result = TypeVar("Result")


def measure_speed(report: Report, network: SessionEncoder, encoder: Encoder, part: Part, sessions: int) -> None:
    """Note the figures over up to ``sessions`` sessions of at most ``MAX_TOKENS`` events.

    Both run the same batches, sorted by length and trimmed; processor seconds of the whole process, features not
    counted. ``encode_us_per_event`` is everything (features, network, nearest code) for finished sessions;
    ``live_us_per_event`` is the same for a session encoded anew at each of its events.
    """
    log = part.log.select(np.flatnonzero(part.log.lengths <= MAX_TOKENS)[:sessions])
    order = np.argsort(log.lengths, kind="stable")
    batches = []
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        features = session_features(log.events, log.starts[rows], log.lengths[rows])
        batches.append((features, token_counts(log.lengths[rows])))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        by_torch, torch_s = _timed(lambda: _by_torch(network, batches))
    finally:
        torch.set_num_threads(threads)
    by_onnx, onnx_s = _timed(lambda: [encoder.run(features, counts) for features, counts in batches])
    report.add("onnx_sessions_per_core_s", len(log) / onnx_s, "sessions/s")
    report.add("torch_sessions_per_core_s", len(log) / torch_s, "sessions/s")
    report.compare("onnx_sessions_per_core_s", "torch_sessions_per_core_s")
    lengths = log.lengths[order]
    same = _codes(encoder, by_onnx, lengths) == _codes(encoder, by_torch, lengths)
    report.add("onnx_equals_torch", float(same.mean()), "of codes")
    report.add("sessions_timed", float(len(log)), "sessions")
    report.add("network_bytes", float(len(to_onnx(network))), "bytes")

    every = np.repeat(np.arange(len(log)), log.lengths)
    begun = np.arange(len(every)) - np.repeat(np.cumsum(log.lengths) - log.lengths, log.lengths) + 1
    for name, starts, shown in (
        ("encode_us_per_event", log.starts, log.lengths),
        ("live_us_per_event", log.starts[every], begun),
    ):

        def encode(starts: I64 = starts, shown: I64 = shown) -> object:
            return encoder.codebook.assign(encoder.latents(log.events, starts, shown), shown)

        report.add(name, 1e6 * _timed(encode)[1] / int(log.lengths.sum()), "CPU-us")


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

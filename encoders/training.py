"""Training of the encoder: one loop, one seed, early stopping on held-out merchants.

A short warm-up without quantisation, then k-means++ and moving-average codebooks; when the network stands still the
codebook is settled by k-means on whole sessions. Weights of the losses are trials' results, see ``docs/log.md``.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.batches import BEGINNING_SHARE, Batch, BatchSource
from encoders.checkpoint import Checkpoint
from encoders.early_stopping import EarlyStopping, Weights
from encoders.errors import TrainingDataError
from encoders.feature_spec import SUMMARY_WIDTH
from encoders.features import described_features, session_features
from encoders.model import BehaviourDecoder, SessionEncoder, Shape, infonce
from encoders.quantiser import Quantiser, TreeQuantiser
from encoders.sessionise import SessionLog

#: Sessions that the codebook is settled on, and that k-means++ starts from.
CODEBOOK_SESSIONS = 20_000
#: Fewer sessions than this cannot fill a codebook.
LEAST_SESSIONS = 200
#: With fewer merchants buyers, not merchants, are held out.
LEAST_MERCHANTS = 5
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Dials of one training run.

    warmup_share     part of the epochs before quantisation begins; 1: only the finished network is quantised
    beginning_share  part of the sessions of a batch of which a random beginning is shown as well
    """

    shape: Shape = field(default_factory=Shape)
    epochs: int = 12
    batch: int = 512
    learning_rate: float = 3e-3
    warmup_share: float = 0.25
    beginning_share: float = BEGINNING_SHARE
    patience: int = 3
    seed: int = 0
    event_weight: float = 0.3
    outcome_weight: float = 0.3
    commitment_weight: float = 0.25
    pair_weight: float = 1.0
    pair_temperature: float = 0.1


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Mean losses of one epoch on the held-out part, and how the codebook is used."""

    epoch: int
    loss: float
    events: float
    outcome: float
    pairs: float
    restarted: int


@dataclass(slots=True)
class TrainedEncoder:
    """What training leaves: the network, the codebook, and the course it took."""

    encoder: SessionEncoder
    quantiser: TreeQuantiser
    options: TrainingOptions
    history: list[EpochReport]


def split_held_out(log: SessionLog, seed: int) -> tuple[SessionLog, SessionLog]:
    """Return (training, held-out) sessions: whole merchants are held out, or whole buyers where merchants are few."""
    present = np.unique(log.merchant)
    if len(present) >= LEAST_MERCHANTS:
        count = max(round(len(present) * HELD_OUT_SHARE), 1)
        chosen = np.random.default_rng(seed).permutation(present)[:count]
        held_out = np.isin(log.merchant, chosen)
    else:
        mixed = (log.key ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
        held_out = (mixed >> np.uint64(11)) / 2.0**53 < HELD_OUT_SHARE
    return log.select(~held_out), log.select(held_out)


def train(
    training: SessionLog,
    held_out: SessionLog,
    options: TrainingOptions,
    device: torch.device,
    progress: Callable[[int, int, EpochReport | None], None] = lambda done, total, report: None,
    checkpoint: Checkpoint | None = None,
) -> TrainedEncoder:
    """Train an encoder on ``training``, stopping early by ``held_out``.

    ``progress`` is called after every batch with batches done, batches planned, and at the end of an epoch its report.
    With ``checkpoint`` the state is kept there after every epoch, and training goes on from what is there: on the
    processor the result is the same to the last bit. Raises TrainingDataError when there are too few sessions.
    """
    shape = options.shape
    quantiser = TreeQuantiser(shape.coarse, shape.fine, shape.type_width, shape.style_width)
    encoder, history = train_with(quantiser, training, held_out, options, device, progress, None, checkpoint)
    return TrainedEncoder(encoder, quantiser, options, history)


def train_with(
    quantiser: Quantiser,
    training: SessionLog,
    held_out: SessionLog,
    options: TrainingOptions,
    device: torch.device,
    progress: Callable[[int, int, EpochReport | None], None] = lambda done, total, report: None,
    start: SessionEncoder | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[SessionEncoder, list[EpochReport]]:
    """Train an encoder around any quantiser, which is trained as well; see ``train``. Both end on the processor.

    With ``start`` the network begins there and the codebook at the quantiser's own vectors.
    """
    for name, log in (("training", training), ("held-out", held_out)):
        if len(log) < max(LEAST_SESSIONS, options.shape.coarse) // (1 if name == "training" else 10):
            raise TrainingDataError(f"{name} part: only {len(log)} sessions; give more events or fewer --codes.")
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        run = _Run(quantiser, training, held_out, options, device, start)
    history = run.fit(progress, checkpoint)
    run.quantiser.cpu().eval()
    return run.encoder.cpu().eval(), history


class _Run:
    """State of one training run."""

    def __init__(
        self,
        quantiser: Quantiser,
        training: SessionLog,
        held_out: SessionLog,
        options: TrainingOptions,
        device: torch.device,
        start: SessionEncoder | None,
    ) -> None:
        shape = options.shape
        self.options = options
        self.device = device
        self.training = training
        self.batches = BatchSource(training, options.batch, options.seed, device, options.beginning_share)
        source = BatchSource(held_out, options.batch, options.seed, device, options.beginning_share)
        self.held_out = list(source.epoch())
        self.encoder = SessionEncoder(shape).to(device)
        self.decoder = BehaviourDecoder(shape).to(device)
        self.quantiser = quantiser.to(device)
        self.quantising = False
        self.generator = torch.Generator().manual_seed(options.seed)
        rows = np.random.default_rng(options.seed).permutation(len(training))[:CODEBOOK_SESSIONS]
        self.sample = training.select(np.sort(rows))
        self.goes_on = start is not None
        if start is not None:
            self.encoder.load_state_dict(start.state_dict())
            return
        summaries = described_features(training.events, self.sample.starts, self.sample.lengths)[:, :SUMMARY_WIDTH]
        self.encoder.summary_mean.copy_(torch.from_numpy(summaries.mean(0)))
        self.encoder.summary_scale.copy_(torch.from_numpy(1.0 / np.maximum(summaries.std(0), 1e-2)))

    def fit(
        self, progress: Callable[[int, int, EpochReport | None], None], checkpoint: Checkpoint | None
    ) -> list[EpochReport]:
        options = self.options
        weights = [*self.encoder.parameters(), *self.decoder.parameters(), *self.quantiser.parameters()]
        optimiser = torch.optim.AdamW(weights, lr=options.learning_rate, weight_decay=1e-4)
        planned = options.epochs * len(self.batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, total_steps=planned)
        warmup = round(options.epochs * options.warmup_share)
        history: list[EpochReport] = []
        stopping = EarlyStopping(options.patience, self._weights())
        kept: dict[str, Any] = {
            "encoder": self.encoder, "decoder": self.decoder, "quantiser": self.quantiser, "optimiser": optimiser,
            "schedule": schedule, "stopping": stopping,
        }  # fmt: skip
        state = None if checkpoint is None else checkpoint.state()
        if state is not None:
            for name, part in kept.items():
                part.load_state_dict(state[name])
            self.generator.set_state(state["generator"])
            self.batches.random_state = state["batches"]
            history = [EpochReport(**report) for report in state["history"]]
            self.quantising = len(history) > warmup
            progress(len(history) * len(self.batches), planned, None)
        for epoch in range(len(history), options.epochs):
            if stopping.stops:
                break
            if epoch == warmup:
                self.quantising = True
                self.quantiser.fit(self.latents(self.sample), options.seed, keep=self.goes_on)
            restarted = 0
            for number, batch in enumerate(self.batches.epoch()):
                optimiser.zero_grad()
                losses, codes = self._losses(batch)
                losses[0].backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()
                schedule.step()
                if codes is not None:
                    restarted += self.quantiser.update(*codes, self.generator)
                progress(epoch * len(self.batches) + number + 1, planned, None)
            report = self._evaluate(epoch, restarted)
            history.append(report)
            if self.quantising or warmup >= options.epochs:
                stopping.judge(report.loss, self._weights)
            if checkpoint is not None:
                checkpoint.save(self._state(kept, history))
            progress((epoch + 1) * len(self.batches), planned, report)
        self.encoder.load_state_dict(stopping.best[0])
        self.quantiser.load_state_dict(stopping.best[1])
        self.quantiser.fit(self.latents(self.sample), options.seed, keep=self.quantising)
        return history

    def _state(self, kept: dict[str, Any], history: list[EpochReport]) -> dict[str, Any]:
        return {
            **{name: part.state_dict() for name, part in kept.items()},
            "generator": self.generator.get_state(),
            "batches": self.batches.random_state,
            "history": [asdict(report) for report in history],
        }

    def _weights(self) -> Weights:
        return (
            {name: value.clone() for name, value in self.encoder.state_dict().items()},
            {name: value.clone() for name, value in self.quantiser.state_dict().items()},
        )

    def _losses(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
        """Return (total, events, outcome, pairs) losses (4,) and what the codebook is to be updated with."""
        options = self.options
        latents = self.encoder(batch.tokens, batch.counts, batch.summaries)
        kinds, _ = self.quantiser.split(latents)
        codes = None
        quantised, commitment = latents, latents.new_zeros(())
        if self.quantising:
            quantised, commitment, coarse, fine = self.quantiser(latents)
            codes = latents.detach(), coarse, fine
        whole = self.encoder.standardise(batch.whole)
        events = self.decoder.event_loss(quantised, batch.previous, batch.owner, batch.targets)
        outcome = self.decoder.outcome_loss(quantised, batch.stratum, batch.converted, whole)
        paired = 2 * batch.pairs
        asked = batch.session < paired
        pairs = infonce(
            kinds[asked], batch.session[asked], kinds[:paired], batch.merchant[:paired], options.pair_temperature
        )
        total = (
            options.event_weight * events
            + options.outcome_weight * outcome
            + options.commitment_weight * commitment
            + options.pair_weight * pairs
        )
        return torch.stack([total, events, outcome, pairs]), codes

    @torch.no_grad()
    def _evaluate(self, epoch: int, restarted: int) -> EpochReport:
        means = torch.stack([self._losses(batch)[0] for batch in self.held_out]).mean(0)
        loss, events, outcome, pairs = means.tolist()
        return EpochReport(epoch, loss, events, outcome, pairs, restarted)

    @torch.no_grad()
    def latents(self, log: SessionLog, batch: int = 1024) -> Tensor:
        return torch_latents(self.encoder, log, batch)


@torch.no_grad()
def torch_latents(encoder: SessionEncoder, log: SessionLog, batch: int = 1024, still_open: bool = False) -> Tensor:
    """Return the latents (n, D1 + D2) of sessions that are over, or ``still_open``, computed by torch."""
    device = encoder.summary_mean.device
    parts = []
    for start in range(0, len(log), batch):
        rows = slice(start, start + batch)
        lengths = log.lengths[rows]
        ended = np.full(len(lengths), not still_open)
        features = session_features(log.events, log.starts[rows], lengths, ended)
        counts = torch.from_numpy(lengths + ended)
        tokens, summaries = (torch.from_numpy(part).to(device) for part in (features.tokens, features.summaries))
        parts.append(encoder(tokens, counts, summaries))
    return torch.cat(parts)

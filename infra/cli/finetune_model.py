"""The language model of ``simpersona finetune``: made or loaded, trained, and what the manifest says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers
from rich.progress import Progress

from agent_runtime.errors import ModelError
from agent_runtime.models.new_models import base_model, extended, shape_of, tiny_model
from agent_runtime.models.response import Response
from agent_runtime.simulators.finetune import (
    PRETRAINED_EPOCHS,
    PRETRAINED_LEARNING_RATE,
    FinetuneOptions,
    Words,
    finetune,
)
from agent_runtime.simulators.low_rank import add_low_rank, merge_low_rank
from agent_runtime.simulators.response_fit import learn_response
from agent_runtime.simulators.simulator import COMPACT, TEXT, Simulator
from agent_runtime.storefront.shop import Shop
from agent_runtime.text.form import TextForm
from agent_runtime.text.training import TextPair, extended_text_model, small_text_model
from agent_runtime.traces.chat import conversations
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Tokens, Vocabulary
from streams.log_lines import hushed

#: Sessions that the small tokenizer is made from: their text is always the same few hundred pieces.
_TOKENIZER_SESSIONS = 2_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the command line asks for.

    base     a pretrained model's name or path, else one of ``width`` is made
    learner  the simulator that goes on to learn, in place of either
    """

    form: str
    base: str | None
    learner: Simulator | None
    width: int
    layers: int
    lora: int | None
    epochs: int | None
    learning_rate: float | None
    seed: int
    device: str
    threads: int

    @property
    def options(self) -> FinetuneOptions:
        """The dials of the training."""
        pretrained = self.base is not None and self.learner is None
        epochs, rate = (PRETRAINED_EPOCHS, PRETRAINED_LEARNING_RATE) if pretrained else (None, None)
        return FinetuneOptions(
            epochs=self.epochs or epochs,
            learning_rate=self.learning_rate or rate,
            seed=self.seed,
            goes_on=self.learner is not None,
        )


def check_lesson(lesson: Lesson) -> None:
    """Raise ModelError when the options cannot be had, or do not go together; for asking before anything is read."""
    if lesson.form not in (COMPACT, TEXT):
        raise ModelError(f"--form {lesson.form}: not known; choose {COMPACT} or {TEXT}.")
    if lesson.lora is not None and lesson.base is None:
        raise ModelError("--lora spares a large model's weights; name one with --base, or leave it out.")
    if lesson.learner is not None and lesson.form == TEXT:
        raise ModelError(f"--base {lesson.base}: a simulator goes on in the compact form; leave out --form text.")
    if lesson.device not in ("auto", "cpu", "cuda"):
        raise ModelError(f"--device {lesson.device}: not known; choose cpu, cuda or auto.")
    if lesson.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda: torch finds no GPU on this machine; choose cpu or auto.")


def train_model(
    lesson: Lesson,
    vocabulary: Vocabulary,
    traces: Traces,
    shops: list[Shop],
    flags: list[tuple[int, ...]],
    progress: Progress,
) -> tuple[Any, Vocabulary, dict[str, Any]]:
    """Return what is to be saved, the vocabulary with its place in the model's, and what the manifest says of it."""
    device = torch.device("cuda" if lesson.device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.set_num_threads(lesson.threads)
    transformers.utils.logging.disable_progress_bar()
    if lesson.form == TEXT:
        with hushed("huggingface_hub"):
            model, form = _text_model(lesson, vocabulary, traces, shops)
        words: Words = form
        rows: Sequence[Tokens] = [form.row(row) for row in token_rows(traces, vocabulary, flags)]
    else:
        with hushed("huggingface_hub"):
            model, vocabulary = _compact_model(lesson, vocabulary)
        words, rows = vocabulary, token_rows(traces, vocabulary, flags)
    if lesson.lora is not None:
        model = add_low_rank(model, lesson.lora)
    with progress as bar:
        task = bar.add_task("training", total=None)

        def on_step(done: int, planned: int, loss: float) -> None:
            bar.update(task, completed=done, total=planned, description=f"training, {loss:.2f} nats/token")

        result = finetune(model, words, rows, lesson.options, device, on_step, traces.weights())
    model = merge_low_rank(model)
    fields = {
        "figures": result.figures | {"tokens_per_session": sum(map(len, rows)) / len(rows)},
        "options": result.options | ({} if lesson.lora is None else {"lora": lesson.lora}),
        "threads": lesson.threads,
        "libraries": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    return TextPair(model, form.tokenizer) if lesson.form == TEXT else model, vocabulary, fields


def _compact_model(lesson: Lesson, vocabulary: Vocabulary) -> tuple[Any, Vocabulary]:
    if lesson.learner is not None:
        return lesson.learner.to_go_on(vocabulary)
    if lesson.base is None:
        return tiny_model(vocabulary, shape_of(lesson.width, lesson.layers), lesson.seed), vocabulary
    return extended(base_model(lesson.base), vocabulary)


def _text_model(lesson: Lesson, vocabulary: Vocabulary, traces: Traces, shops: list[Shop]) -> tuple[Any, TextForm]:
    if lesson.base is not None:
        return extended_text_model(lesson.base, vocabulary)
    some = traces.select(np.arange(min(len(traces), _TOKENIZER_SESSIONS)))
    told = conversations(some, vocabulary.code_paths, {shop.merchant_id: shop.capabilities for shop in shops})
    texts = [message["content"] for line in told for message in line["messages"]]
    return small_text_model(texts, vocabulary, shape_of(lesson.width, lesson.layers), lesson.seed)


def response_of(model: Any, vocabulary: Vocabulary, traces: Traces, shops: list[Shop], progress: Progress) -> Response:
    """Return the trained model's answers to the storefronts' conditions; shops that were not observed are left out."""
    known = {shop.merchant_id: shop for shop in shops}
    seen = np.array([merchant in known for merchant in traces.merchants])
    place = np.cumsum(seen) - 1
    kept = traces.select(np.flatnonzero(seen[traces.merchant]))
    kept = replace(
        kept,
        merchant=place[kept.merchant].astype(np.int32),
        merchants=tuple(merchant for merchant in traces.merchants if merchant in known),
    )
    with progress as bar:
        task = bar.add_task("answers to storefront conditions", total=len(kept))
        return learn_response(
            model,
            vocabulary,
            kept,
            known,
            next(model.parameters()).device,
            lambda read, sessions: bar.update(task, completed=read, total=sessions),
        )

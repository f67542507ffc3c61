"""The language model as a simulation's backend: transformers, run here, with its keys and values kept between steps."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

from agent_runtime.backends import Scores
from agent_runtime.errors import ModelError
from agent_runtime.vocabulary import Tokens, Vocabulary


class LocalModel:
    """A ``Backend`` over a causal language model of transformers. For one thread at a time.

    The answer depends on the tokens alone: the key-value cache is used only when they go on from those of the call
    before by one column, else the whole rows are read again.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._model = model.to(self._device).eval()
        self._vocabulary = vocabulary
        self._told: Tokens = np.empty((0, 0), np.int64)
        self._cache: Any = None

    @torch.inference_mode()
    def scores(self, tokens: Tokens) -> Scores:
        """Return log-probabilities of the next token, (B, V) float32; see ``Backend``."""
        goes_on = tokens.shape[1] == self._told.shape[1] + 1 and np.array_equal(tokens[:, :-1], self._told)
        ids = torch.from_numpy(tokens[:, -1:] if goes_on else tokens).to(self._device)
        answer = self._model(
            input_ids=ids, past_key_values=self._cache if goes_on else None, use_cache=True, logits_to_keep=1
        )
        self._cache, self._told = answer.past_key_values, tokens
        first = self._vocabulary.offset
        logits = answer.logits[:, -1, first : first + len(self._vocabulary)].float()
        return np.asarray(logits.cpu().numpy(), np.float32)


def load_local_model(folder: Path, vocabulary: Vocabulary) -> LocalModel:
    """Return the backend of a saved language model. Raises ModelError when transformers cannot read it.

    Sets torch to one thread: a run's exact result depends on the order of sums, hence on the number of threads.
    """
    torch.set_num_threads(1)
    # Loading takes a moment; its progress bar would break up the command's own.
    transformers.utils.logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: transformers cannot load the language model ({reason}); finetune anew.") from error
    return LocalModel(model, vocabulary)

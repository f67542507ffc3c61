"""Reads text with any causal language model of transformers, its keys and values kept between turns.

What is new to each shopper is filled up from the left to one width, and the tree of answers is read in the same pass:
a mask lets each of its nodes see the way to it and what was said before, and nothing else (the tree attention of
SpecInfer, arXiv 2305.09781). The tree is taken out of the cache again. The filling stays in it, never looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache

from agent_runtime.backends import Scores
from agent_runtime.errors import ModelError
from agent_runtime.text.trie import Trie
from schemas.events import I64


class TorchReader:
    """A ``TextReader`` of shoppers whose rows are dropped from the batch as they leave."""

    def __init__(self, model: Any, shoppers: int) -> None:
        self._model, self._device = model, next(model.parameters()).device
        self._cache = DynamicCache(config=model.config)
        self._rows = np.arange(shoppers)
        self._seen = torch.zeros((shoppers, 0), dtype=torch.bool)  # (n, T): what of the cache is text

    @torch.inference_mode()
    def ask(self, rows: I64, said: Sequence[Sequence[int]], trie: Trie) -> Scores:
        """Return the logits of the tree's branches (n, E); see ``TextReader``."""
        self._keep(rows)
        width, nodes, count = max(map(len, said)), len(trie.tokens), len(rows)
        ids = np.zeros((count, width + nodes), np.int64)
        ids[:, width:] = trie.tokens
        fresh = np.zeros((count, width), bool)
        for row, text in enumerate(said):
            ids[row, width - len(text) : width] = text
            fresh[row, width - len(text) :] = True
        seen = torch.cat([self._seen, torch.from_numpy(fresh)], dim=1)  # (n, T + width)
        places = torch.cumsum(seen, dim=1)[:, -width:] - 1  # (n, width)
        places = torch.cat([places, places[:, -1:] + torch.from_numpy(trie.depth)], dim=1).clamp(min=0)
        logits = self._model(
            input_ids=torch.from_numpy(ids).to(self._device),
            attention_mask=self._mask(seen, width, trie),
            position_ids=places.to(self._device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=torch.from_numpy(trie.forks + width - 1).to(self._device),
        ).logits  # (n, K, V)
        if nodes:
            self._cache.crop(-nodes)
        self._seen = seen
        fork = np.repeat(np.arange(len(trie.forks)), np.diff(trie.bounds))
        return np.asarray(logits[:, fork, trie.branches].float().cpu().numpy(), np.float32)

    def _mask(self, seen: torch.Tensor, width: int, trie: Trie) -> torch.Tensor:
        """Return what each new token may look at, (n, 1, width + N, T + width + N), 0 or very negative."""
        count, length = seen.shape
        nodes = len(trie.tokens)
        allowed = torch.zeros((count, width + nodes, length + nodes), dtype=torch.bool)
        earlier = torch.arange(length)[None] <= torch.arange(length - width, length)[:, None]  # (width, T + width)
        allowed[:, :width, :length] = seen[:, None] & earlier
        allowed[:, width:, :length] = seen[:, None]
        allowed[:, width:, length:] = torch.from_numpy(trie.inside)
        dtype = self._model.dtype
        closed = torch.full(allowed.shape, torch.finfo(dtype).min, dtype=dtype)
        return closed.masked_fill_(allowed, 0.0)[:, None].to(self._device)

    def _keep(self, rows: I64) -> None:
        """Drop everybody but ``rows`` from the cache."""
        if len(rows) == len(self._rows):
            return
        kept = torch.from_numpy(np.searchsorted(self._rows, rows))
        if self._seen.shape[1]:
            self._cache.batch_select_indices(kept.to(self._device))
        self._seen, self._rows = self._seen[kept], rows.copy()


class TorchReaders:
    """A model of transformers as a maker of readers."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()

    def reader(self, shoppers: int) -> TorchReader:
        """Return a reader of so many shoppers."""
        return TorchReader(self._model, shoppers)


def load_text_torch(folder: Path) -> TorchReaders:
    """Return a saved language model, on a GPU where there is one. Raises ModelError when transformers cannot read it.

    Sets torch to one thread: a run's exact result depends on the order of sums, hence on the number of threads.
    """
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: transformers cannot load the language model ({reason}); finetune anew.") from error
    return TorchReaders(model.to("cuda" if torch.cuda.is_available() else "cpu"))

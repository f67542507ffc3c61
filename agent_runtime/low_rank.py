"""Low-rank adaptation (LoRA, Hu et al. 2021, arXiv 2106.09685): a large model's matrices stay, small ones are learnt.

Of a matrix W only B A of a small rank is trained and added; at the end it is added for good, so that the model is
saved and played as one of its kind. The tables of tokens are trained too, their new rows alone (see ``finetune``).
"""

from typing import Any, cast

import torch
from torch.nn import functional

from agent_runtime.errors import ModelError

#: What is added counts as much whatever the rank: scaled by this over the rank.
_SCALE = 16.0


class LowRank(torch.nn.Module):
    """A linear layer (outputs, inputs) that stays, and a change of it of low rank that is learnt; nothing at first."""

    def __init__(self, layer: torch.nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer, self._scale = layer, _SCALE / rank
        self.down = torch.nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
        torch.nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (…, outputs) of inputs (…, inputs)."""
        change = functional.linear(functional.linear(inputs, self.down), self.up)
        return cast(torch.Tensor, self.layer(inputs)) + self._scale * change

    @torch.no_grad()
    def merged(self) -> torch.nn.Linear:
        """Return the layer with the change added."""
        self.layer.weight += self._scale * self.up @ self.down
        return self.layer


def add_low_rank(model: Any, rank: int) -> None:
    """Make every linear layer of a model's body a ``LowRank``, in place, and freeze all but these and the tables.

    Raises ModelError when the body has none.
    """
    head = model.get_output_embeddings()
    found = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and part is not head]
    if not found:
        raise ModelError(f"{model.config.model_type}: has no linear layers to adapt; leave out --lora.")
    tables = {model.get_input_embeddings().weight, head.weight}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in tables)
    for name in found:
        model.set_submodule(name, LowRank(model.get_submodule(name), rank))


def merge_low_rank(model: Any) -> None:
    """Add what was learnt to the layers and put them back, in place."""
    for name in [name for name, part in model.named_modules() if isinstance(part, LowRank)]:
        model.set_submodule(name, model.get_submodule(name).merged())

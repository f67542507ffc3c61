"""Early stopping: the best weights so far, and whether it is still worth going on (Prechelt 1998)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

#: State of the encoder and of the quantiser.
Weights = tuple[dict[str, Tensor], dict[str, Tensor]]


class EarlyStopping:
    """Remembers the weights of the least held-out loss and says when ``patience`` epochs brought no less."""

    def __init__(self, patience: int, first: Weights) -> None:
        """Begin with weights to return when no epoch was ever judged."""
        self.patience = patience
        self.best = first
        self.best_loss = float("inf")
        self.since_best = 0

    @property
    def stops(self) -> bool:
        """Whether training is at its end."""
        return self.since_best >= self.patience

    def judge(self, loss: float, weights: Callable[[], Weights]) -> None:
        """Take an epoch's held-out loss; ``weights`` is only asked when it is the least so far."""
        self.since_best += 1
        if loss < self.best_loss:
            self.best, self.best_loss, self.since_best = weights(), loss, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted training needs to go on."""
        return {"best": list(self.best), "best_loss": self.best_loss, "since_best": self.since_best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        encoder, quantiser = state["best"]
        self.best, self.best_loss, self.since_best = (encoder, quantiser), state["best_loss"], state["since_best"]

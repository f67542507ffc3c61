"""Low-rank adaptation (LoRA, Hu et al. 2021, arXiv 2106.09685) by peft: a large model stays, small matrices are learnt.

At the end they are added to its own for good, so that the model is saved and played as one of its kind. The tables of
tokens are trained too, their new rows alone (see ``finetune``).
"""

from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model

from agent_runtime.errors import ModelError

#: What is added counts as much whatever the rank: peft scales it by this over the rank.
_ALPHA = 16


def add_low_rank(model: Any, rank: int) -> Any:
    """Return a model with matrices of this rank beside every linear layer of its body, and all but these frozen.

    The tables of tokens are not. Raises ModelError when the body has no linear layer.
    """
    plan = LoraConfig(r=rank, lora_alpha=_ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    try:
        adapted = get_peft_model(model, plan)
    except ValueError as error:
        raise ModelError(f"{model.config.model_type}: has no linear layers to adapt; leave out --lora.") from error
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        table.weight.requires_grad_(True)
    return adapted


def merge_low_rank(model: Any) -> Any:
    """Return a model with what was learnt added to its layers; one without low-rank matrices as it is."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model

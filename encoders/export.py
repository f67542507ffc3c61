"""The trained network as an ONNX graph, written out node by node.

The graph is the serving half of ``SessionEncoder`` and nothing else; writing it by hand (instead of tracing) keeps
ONNX's own GRU operator with sequence lengths, which skips padding and runs fused.
"""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from encoders.feature_spec import SUMMARY_WIDTH, TOKEN_WIDTH
from encoders.model import SUMMARY_LIMIT, SessionEncoder

#: Operator set and file format that every ONNX Runtime since 1.15 reads.
OPSET, IR_VERSION = 18, 9


def to_onnx(encoder: SessionEncoder) -> bytes:
    """Return the encoder as ONNX bytes: (tokens, counts, summaries, states) → (latents, last).

    tokens (T, B, F), counts (B,) int32, summaries (B, S); states (1, B, W), the recurrent states before the first
    token, zero at a session's beginning; latents (B, D); last (1, B, W), the states after the last token. Equal weights
    give equal bytes.
    """
    width = encoder.gru.hidden_size
    gru_weights = dict(encoder.gru.named_parameters())
    constants = {
        "input_weight": _gates(gru_weights["weight_ih_l0"], width)[None],
        "state_weight": _gates(gru_weights["weight_hh_l0"], width)[None],
        "bias": np.concatenate([_gates(gru_weights["bias_ih_l0"], width), _gates(gru_weights["bias_hh_l0"], width)])[
            None
        ],
        "mean": _array(encoder.summary_mean),
        "scale": _array(encoder.summary_scale),
        "low": np.array(-SUMMARY_LIMIT, np.float32),
        "high": np.array(SUMMARY_LIMIT, np.float32),
        "join_weight": _array(encoder.join.weight),
        "join_bias": _array(encoder.join.bias),
        "latent_weight": _array(encoder.latent.weight),
        "latent_bias": _array(encoder.latent.bias),
        "first": np.array([0], np.int64),
        "parts": np.array([encoder.type_width, encoder.latent.out_features - encoder.type_width], np.int64),
    }
    gru = ["tokens", "input_weight", "state_weight", "bias", "counts", "states"]
    nodes = [
        # torch applies the reset gate after the recurrent product, hence linear_before_reset
        helper.make_node("GRU", gru, ["", "last"], hidden_size=width, linear_before_reset=1),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("Sub", ["summaries", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["standardised"]),
        helper.make_node("Concat", ["state", "standardised"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "join_weight", "join_bias"], ["joined"], transB=1),
        helper.make_node("Relu", ["joined"], ["active"]),
        helper.make_node("Gemm", ["active", "latent_weight", "latent_bias"], ["raw"], transB=1),
        helper.make_node("Split", ["raw", "parts"], ["raw_type", "raw_style"], axis=1),
        helper.make_node("LpNormalization", ["raw_type"], ["type"], axis=1, p=2),
        helper.make_node("LpNormalization", ["raw_style"], ["style"], axis=1, p=2),
        helper.make_node("Concat", ["type", "style"], ["latents"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "session_encoder",
        [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["T", "B", TOKEN_WIDTH]),
            helper.make_tensor_value_info("counts", TensorProto.INT32, ["B"]),
            helper.make_tensor_value_info("summaries", TensorProto.FLOAT, ["B", SUMMARY_WIDTH]),
            helper.make_tensor_value_info("states", TensorProto.FLOAT, [1, "B", width]),
        ],
        [
            helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["B", encoder.latent.out_features]),
            helper.make_tensor_value_info("last", TensorProto.FLOAT, [1, "B", width]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def _gates(tensor: Tensor, width: int) -> npt.NDArray[np.float32]:
    """Reorder a GRU parameter's gates from torch's (reset, update, new) to ONNX's (update, reset, new)."""
    reset, update, new = np.split(_array(tensor), [width, 2 * width])
    return np.concatenate([update, reset, new])

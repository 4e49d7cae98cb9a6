"""Couplings of layers that do not state them: attention, and blocks of KerasHub.

The parts of a layer are known by their names, classes of KerasHub, which need not be
installed, and those of `keras.applications` that are not public by theirs. The names
were read from Keras 3.15 and KerasHub 0.32.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from dlth_tf.keras_internals import is_of_applications
from dlth_tf.network.variables import walk_layers

_FEED_FORWARD = (
    "feedforward_gate_dense",
    "feedforward_intermediate_dense",
    "feedforward_output_dense",
)
_GEMMA = ("ffw_gating", "ffw_gating_2", "ffw_linear")
_HIDDEN_UNITS = {
    "TransformerEncoder": _FEED_FORWARD,
    "TransformerDecoder": _FEED_FORWARD,
    "WhisperEncoder": _FEED_FORWARD,
    "WhisperDecoder": _FEED_FORWARD,
    "DisentangledAttentionEncoder": _FEED_FORWARD,
    "XLNetEncoder": _FEED_FORWARD,
    "ESMEncoder": _FEED_FORWARD,
    "RoformerV2Encoder": _FEED_FORWARD,
    "GPTNeoXDecoder": _FEED_FORWARD,
    "LlamaTransformerDecoder": _FEED_FORWARD,
    "MistralTransformerDecoder": _FEED_FORWARD,
    "Phi3Decoder": _FEED_FORWARD,
    "QwenTransformerDecoder": _FEED_FORWARD,
    "Qwen3TransformerDecoder": _FEED_FORWARD,
    "GemmaDecoderBlock": _GEMMA,
    "Gemma3DecoderBlock": _GEMMA,
    "SmolLM3DecoderLayer": ("mlp/gate_proj", "mlp/up_proj", "mlp/down_proj"),
    "T5TransformerLayer": ("input_projector", "gate_projector", "output_projector"),
    "BloomDecoder": ("mlp_intermediate_dense", "mlp_output_dense"),
    "FalconTransformerDecoder": ("dense_h_to_4h", "dense_4h_to_h"),
    "FNetEncoder": ("intermediate_dense", "output_dense"),
    "ViTEncoderBlock": ("mlp/dense", "mlp/dense_1"),
    "DeiTEncoderBlock": ("mlp/dense", "output_layer/output"),
    "DINOV2MLP": ("fc1", "fc2"),
    "SwinTransformerBlock": ("mlp/fc1", "mlp/fc2"),
}
"""By class of KerasHub: what makes the hidden units (where the block has it),
and last what takes them in."""

_MIXING = ("softmax", "log_softmax", "sparsemax")
_HIDDEN_COUNTS = ("intermediate_dim", "intermediate_size", "mlp_dim", "mlp_ratio")
_HEADS = {
    "GemmaDecoderBlock": ("attention", 0),
    "Gemma3DecoderBlock": ("attention", 0),
    "MistralTransformerDecoder": ("self_attention", 1),
    "Qwen3TransformerDecoder": ("self_attention", 1),
}
"""Blocks whose heads have a size of their own: where they are, their kernels' axis."""

_NORMALIZED = "query_head_dim_normalize"
"""Without it the scale of Gemma's attention depends on the number of heads."""

_APPLICATIONS: dict[str, Any] = {
    "CustomScaleLayer": lambda layer: [((), ["channels"])],
    "StochasticDepth": lambda layer: [((), ["channels"])],
    "LayerScale": lambda layer: [("projection_dim", ["channels", (layer.gamma, 0)])],
}


def known_couplings(layer: Any) -> list | None:
    """What a layer's `get_channel_couplings` would return if it had one; None if unknown.

    What its configuration can't express is not among it: BERT's heads, as their size is
    the width divided by their number.
    """
    if isinstance(layer, layers.MultiHeadAttention | layers.GroupQueryAttention):
        return [_heads(dict(walk_layers(layer)), 1, layer.get_config())]
    if is_of_applications(layer):
        known = _APPLICATIONS.get(type(layer).__name__)
        return known(layer) if known else None
    in_hub = type(layer).__module__.startswith("keras_hub.")
    return _of_blocks(layer) if in_hub else None


def _of_blocks(holder: Any) -> list | None:
    """Couplings of all blocks within a layer or backbone whose configuration has them."""
    within = [holder, *(part for _, part in walk_layers(holder))]
    blocks = [block for block in within if type(block).__name__ in _HIDDEN_UNITS]
    try:
        config = holder.get_config() if blocks else {}
    except (AttributeError, TypeError):  # Some of KerasHub's blocks can't tell theirs.
        return None
    count = next((name for name in _HIDDEN_COUNTS if config.get(name)), None)
    if count is None:
        return None
    return [pair for block in blocks for pair in _of_block(block, count, config)]


def _of_block(block: Any, count: str, config: Mapping) -> Iterator[tuple]:
    parts = dict(walk_layers(block))
    *makers, taker = _HIDDEN_UNITS[type(block).__name__]
    made = [parts[name] for name in makers if name in parts]
    if made and taker in parts and not any(map(_mixes, [block, *made])):
        yield count, [*_places(made, -1), (parts[taker].kernel, 0)]
    attention, axis = _HEADS.get(type(block).__name__, ("", 0))
    if attention in parts and config.get("head_dim") and config.get(_NORMALIZED, True):
        yield _heads(dict(walk_layers(parts[attention])), axis, config)


def _mixes(layer: Any) -> bool:
    """Whether a layer's activation looks at all hidden units for each of them."""
    activation = getattr(layer, "activation", None)
    return activation in [getattr(keras.activations, name) for name in _MIXING]


def _heads(parts: Mapping[str, Any], axis: int, config: Mapping) -> tuple:
    """Heads of an attention: those of queries go with the one of keys that they share.

    Where all share one, it stays.
    """
    queries = [parts[name] for name in ("query", "gate") if name in parts]
    places = [*_places(queries, axis), (parts["attention_output"].kernel, 0)]
    count, shared = "num_query_heads", "num_key_value_heads"
    if config.get(shared) == 1:
        return count, places
    places += _places([parts["key"], parts["value"]], axis)
    return "num_heads" if shared not in config else (count, shared), places


def _places(projections: Sequence[Any], axis: int) -> list:
    """Where the units lie that projections make, in their kernels and their biases."""
    kernels = [(projection.kernel, axis) for projection in projections]
    return kernels + [(p.bias, 0) for p in projections if p.bias is not None]

"""One network of each family of keras.applications and KerasHub, small and untrained."""

from typing import Any

import keras
import numpy as np

import dlth_tf as dlth

APPLICATIONS = {
    **dict.fromkeys(("ConvNeXtTiny", "DenseNet121", "EfficientNetB0"), 32),
    **dict.fromkeys(("EfficientNetV2B0", "MobileNet", "MobileNetV2"), 32),
    **dict.fromkeys(("MobileNetV3Small", "NASNetMobile", "ResNet50"), 32),
    **dict.fromkeys(("ResNet50V2", "VGG16"), 32),
    **{"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71},
}
"""The smallest network of each family, with the side of its images."""

_SIZES = {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 128}
_TEXT = {"vocabulary_size": 50, **_SIZES}
_HEADS = {"num_heads": 4, **_TEXT}
_SHORT = {"max_sequence_length": 8, **_HEADS}
_GROUPS = {"num_query_heads": 4, "num_key_value_heads": 2, **_TEXT}
_IMAGES = {"image_shape": (16, 16, 3), "patch_size": 4, "num_heads": 4}
KERAS_HUB: dict[str, dict[str, Any]] = {
    "Bert": _SHORT,
    "DistilBert": _SHORT,
    "GPT2": _SHORT,
    "Llama": _GROUPS,
    "ViT": {**_IMAGES, "num_layers": 2, "hidden_dim": 32, "mlp_dim": 128},
    "Roberta": _SHORT,
    "Gemma": {"head_dim": 8, **_GROUPS},
    "Albert": {"embedding_dim": 16, **_SHORT},
    "Bart": _SHORT,
    "Bloom": _HEADS,
    "CSPNet": {
        **{"stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1},
        **{"stackwise_depth": [1, 2], "stackwise_strides": [1, 2]},
        **{"stackwise_num_filters": [16, 32], "image_shape": (32, 32, 3)},
        **{"block_type": "dark_block", "stage_type": "dark"},
    },
    "DINOV2": {"position_embedding_shape": (16, 16, 3), **_IMAGES, **_SIZES},
    "DebertaV3": {"bucket_size": 8, **_SHORT},
    "DeiT": {**_IMAGES, **_SIZES},
    "DenseNet": {"stackwise_num_repeats": [2, 2], "image_shape": (32, 32, 3)},
    "ESM": _HEADS,
    "Electra": {
        **{"vocab_size": 50, "num_heads": 4, "embedding_dim": 16, **_SIZES},
        "max_sequence_length": 8,
    },
    "FNet": {"max_sequence_length": 8, **_TEXT},
    "Falcon": {"num_attention_heads": 4, **_TEXT},
    "GPTNeoX": {"rotary_percentage": 0.5, **_SHORT},
    "Gemma3": {"image_size": 16, "head_dim": 8, **_GROUPS},
    "HGNetV2": {
        **{"depths": [1, 2], "embedding_size": 8, "hidden_sizes": [16, 32]},
        **{"stem_channels": [3, 8, 8], "hidden_act": "relu"},
        "stackwise_stage_filters": [(8, 8, 16, 1, 1, 3), (16, 8, 32, 2, 1, 3)],
        **{"apply_downsample": [False, True], "use_learnable_affine_block": False},
        **{"use_lightweight_conv_block": [False, False], "image_shape": (32, 32, 3)},
    },
    "Llama3": _GROUPS,
    "MiT": {
        **{"layerwise_depths": [1, 1], "num_layers": 2, "hidden_dims": [8, 16]},
        **{"layerwise_num_heads": [1, 2], "layerwise_sr_ratios": [2, 1]},
        **{"layerwise_patch_sizes": [3, 3], "layerwise_strides": [2, 2]},
        **{"max_drop_path_rate": 0.0, "image_shape": (32, 32, 3)},
    },
    "Mistral": {"head_dim": 8, **_GROUPS},
    "Mixtral": {"num_experts": 2, **_GROUPS},
    "OPT": _SHORT,
    "Phi3": _GROUPS,
    "Qwen": _GROUPS,
    "Qwen3": {"head_dim": 8, **_GROUPS},
    "ResNet": {
        **{"input_conv_filters": [64], "input_conv_kernel_sizes": [3]},
        **{"stackwise_num_filters": [64, 128], "stackwise_num_blocks": [2, 2]},
        **{"stackwise_num_strides": [1, 2], "block_type": "basic_block"},
        "image_shape": (32, 32, 3),
    },
    "RoformerV2": {"head_size": 8, **_HEADS},
    "SmolLM3": {
        **{"num_attention_heads": 4, "num_key_value_heads": 2, **_TEXT},
        **{"attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False},
        **{"rope_layer_enabled_list": [True] * 2, "rope_theta": 10000.0},
        **{"layer_types": ["full_attention"] * 2, "layer_norm_epsilon": 1e-6},
        **{"max_position_embeddings": 16, "partial_rotary_factor": 1.0},
    },
    "SwinTransformer": {
        **{"image_shape": (32, 32, 3), "patch_size": 2, "embed_dim": 16},
        **{"depths": (2, 2), "num_heads": (2, 4), "window_size": 2},
    },
    "T5": _HEADS,
    "VGG": {
        **{"stackwise_num_repeats": [1, 1, 1, 1, 1], "image_shape": (32, 32, 3)},
        "stackwise_num_filters": [8, 8, 16, 16, 16],
    },
    "Whisper": {
        **{"num_mels": 8, "max_encoder_sequence_length": 16, **_HEADS},
        "max_decoder_sequence_length": 8,
    },
    "XLMRoberta": _SHORT,
    "XLNet": _HEADS,
    "Xception": {
        **{"stackwise_conv_filters": [[8, 16], [16, 32]], "image_shape": (32, 32, 3)},
        "stackwise_pooling": [True, False],
    },
}
"""By name of the `Backbone`."""


def randomized(model: keras.Model) -> keras.Model:
    """The model with biases and normalisation parameters unlike 0 and 1."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif len(variable.shape) == 1 and "float" in variable.dtype:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def inputs_of(model: keras.Model, count: int = 2) -> Any:
    """Random inputs: numbers for images, tokens, and masks that hide nothing."""
    rng = np.random.default_rng(1)

    def drawn(tensor: keras.KerasTensor) -> np.ndarray:
        shape = (count, *(size or 8 for size in tensor.shape[1:]))
        if "int" not in tensor.dtype:
            return rng.normal(size=shape).astype(tensor.dtype)
        tokens = rng.integers(0, 50, shape)
        limits = {"padding_mask": 1, "segment_ids": 0}
        name = next((part for part in limits if part in tensor.name), None)
        return (tokens if name is None else np.full(shape, limits[name])).astype("int32")

    return keras.tree.map_structure(drawn, model.input)


def outputs_of(model: keras.Model) -> list[np.ndarray]:
    outputs = model(inputs_of(model), training=False)
    return [keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def shrunken(model: keras.Model, sparsity: float = 0.5) -> tuple[keras.Model, float]:
    """A smaller model, and by how much its outputs differ from the masked one's.

    The difference is relative to the largest output, if that is above one.
    """
    randomized(model)
    ticket = dlth.random_ticket(model, sparsity, seed=0, unit="filter")
    small = dlth.shrink(model, ticket)
    dense = outputs_of(model)
    ticket.apply(model)
    pairs = list(zip(outputs_of(model), outputs_of(small), strict=True))
    largest = max(1.0, *(float(np.abs(masked).max()) for masked, _ in pairs))
    if all(np.allclose(d, masked) for d, (masked, _) in zip(dense, pairs, strict=True)):
        raise ValueError("The ticket changes nothing: it can't tell whether shrinking is")
    return small, max(float(np.abs(a - b).max()) for a, b in pairs) / largest

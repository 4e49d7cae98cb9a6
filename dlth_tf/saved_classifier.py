"""A SavedModel, whoever made it, as a classifier of images. Needs TensorFlow alone."""

import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf


class SavedClassifier:
    """A SavedModel with one input of images and an output of class scores.

    Images may be wanted as `[batch, height, width, channels]`, with channels first,
    without the axis of a single channel, or flat, in any numeric type, in batches of any
    or of one size: the signature says which. `signature` may be left out if it is
    `serving_default` or the only one, `output` if it is `logits`, `probabilities` or the
    only one.

    Raises:
        ValueError: no SavedModel, no such signature, several inputs or outputs to choose
            from.
        OSError: the SavedModel is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        signature: str | None = None,
        output: str | None = None,
    ):
        if not any(Path(folder).glob("saved_model.pb*")):
            raise ValueError(f"'{folder}' holds no SavedModel (no saved_model.pb).")
        try:
            # The functions die with the object that they were loaded with.
            self._loaded = tf.saved_model.load(os.fspath(folder))
        except Exception as error:
            # TensorFlow raises errors of every kind on damaged files.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OSError(f"'{folder}' can't be loaded: {reason}") from error
        functions = self._loaded.signatures
        name = _chosen("signature", signature, functions, ["serving_default"])
        self._function = functions[name]
        _, inputs = self._function.structured_input_signature
        if len(inputs) != 1:
            raise ValueError(
                f"The signature of '{folder}' must have one input, the images. It has "
                f"{len(inputs)}: {', '.join(inputs)}"
            )
        ((self._input, spec),) = inputs.items()
        self._shape, self._dtype = spec.shape, spec.dtype
        outputs = self._function.structured_outputs
        self._output = _chosen("output", output, outputs, ["logits", "probabilities"])
        self.batch_size: int | None = spec.shape[0] if spec.shape.rank else None
        self.takes_whole_numbers: bool = spec.dtype.is_integer

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Outputs `[batch, classes]` for images `[batch, height, width, channels]`.

        Raises:
            ValueError: the signature wants images of another shape.
        """
        images = self._arranged(np.rint(images) if self.takes_whole_numbers else images)
        if self.batch_size is None:
            return self._call(images)
        batches = math.ceil(len(images) / self.batch_size)
        filled = np.resize(images, (batches * self.batch_size, *images.shape[1:]))
        outputs = [self._call(batch) for batch in np.split(filled, batches)]
        return np.concatenate(outputs)[: len(images)]

    def _call(self, images: np.ndarray) -> np.ndarray:
        tensor = tf.cast(tf.convert_to_tensor(images), self._dtype)
        return self._function(**{self._input: tensor})[self._output].numpy()

    def _arranged(self, images: np.ndarray) -> np.ndarray:
        """The images with the axes that the signature wants."""
        wanted = self._shape
        if wanted.rank is None:
            return images
        flat, channels_first = images.reshape(len(images), -1), np.moveaxis(images, -1, 1)
        one_channel = [images[..., 0]] if images.shape[-1] == 1 else []
        for arranged in (images, channels_first, flat, *one_channel):
            if wanted[1:].is_compatible_with(arranged.shape[1:]):
                return arranged
        raise ValueError(
            f"The SavedModel wants images of shape {wanted.as_list()}, the data set's "
            f"are [batch, {', '.join(map(str, images.shape[1:]))}]."
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The variables with two axes or more that the signature reads, by name."""
        weights: dict[str, np.ndarray] = {}
        for variable in self._function.variables:
            if variable.shape.rank >= 2 and variable.dtype.is_floating:
                name = variable.name.removesuffix(":0")
                name = f"{name}_{len(weights)}" if name in weights else name
                weights[name] = variable.numpy()
        return weights


def _chosen(
    kind: str, name: str | None, available: Iterable[str], preferred: list[str]
) -> str:
    """The name given; else the first preferred that is available, or the only one."""
    names = list(available)
    wanted = [name] if name else [*preferred, *(names if len(names) == 1 else [])]
    for candidate in wanted:
        if candidate in names:
            return candidate
    received = f"Received: {name}. " if name else "Say which to use. "
    raise ValueError(
        f"`{kind}` must be one of the SavedModel's. {received}"
        f"Available: {', '.join(names) or 'none'}"
    )

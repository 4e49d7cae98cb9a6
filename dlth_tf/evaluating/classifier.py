"""A SavedModel as a classifier of images, as far as its signature tells."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_PREFERRED_SIGNATURE = "serving_default"
_PREFERRED_OUTPUTS = ("logits", "probabilities")


class SavedClassifier:
    """A SavedModel with one input of images and an output of class scores.

    Images may be wanted as `[batch, height, width, channels]`, with channels first,
    without the axis of a single channel, or flat, in any numeric type, in batches of any
    or of one size: the signature says which.

    Args:
        folder: of the SavedModel.
        signature: its name. None: `serving_default`, or the only one there is.
        output: which of several outputs. None: `logits`, `probabilities` or the only one.

    Attributes:
        batch_size: the only batch size it takes; None if any.

    Raises:
        ValueError: no SavedModel, no such signature, several inputs or outputs to choose
            from.
        OSError: the SavedModel is damaged.

    Example:

    >>> classifier = SavedClassifier("exports/digits")
    >>> classifier(np.zeros((2, 8, 8, 1))).shape
    (2, 10)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        signature: str | None = None,
        output: str | None = None,
    ):
        import tensorflow as tf

        if not any(Path(folder).glob("saved_model.pb*")):
            raise ValueError(f"'{folder}' holds no SavedModel (no saved_model.pb).")
        try:
            # The functions die with the object that they were loaded with.
            self._loaded = tf.saved_model.load(os.fspath(folder))
        except Exception as error:
            # TensorFlow raises errors of every kind on damaged files.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OSError(f"'{folder}' can't be loaded: {reason}") from error
        self._function = _chosen(
            "signature", signature, self._loaded.signatures, (_PREFERRED_SIGNATURE,)
        )
        _, inputs = self._function.structured_input_signature
        if len(inputs) != 1:
            raise ValueError(
                f"The signature of '{folder}' must have one input, the images. It has "
                f"{len(inputs)}: {', '.join(inputs)}"
            )
        ((self._input, self._spec),) = inputs.items()
        outputs = self._function.structured_outputs
        _chosen("output", output, outputs, _PREFERRED_OUTPUTS)
        self._output = output or _default(outputs, _PREFERRED_OUTPUTS)
        self.batch_size = self._spec.shape[0] if self._spec.shape.rank else None

    @property
    def takes_whole_numbers(self) -> bool:
        """Whether images are wanted in an integer type, as pixels."""
        return self._spec.dtype.is_integer

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Outputs `[batch, classes]` for images `[batch, height, width, channels]`.

        Raises:
            ValueError: the signature wants images of another shape.
        """
        batches = [self._call(batch) for batch in self._batches(images)]
        return np.concatenate(batches)[: len(images)]

    def _batches(self, images: np.ndarray) -> Iterable[np.ndarray]:
        if self.batch_size is None:
            return [images]
        missing = -len(images) % self.batch_size
        padded = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        return np.split(padded, len(padded) // self.batch_size)

    def _call(self, images: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        arranged = self._arranged(images)
        if self.takes_whole_numbers:
            arranged = np.rint(arranged)
        tensor = tf.cast(tf.convert_to_tensor(arranged), self._spec.dtype)
        return self._function(**{self._input: tensor})[self._output].numpy()

    def _arranged(self, images: np.ndarray) -> np.ndarray:
        """The images with the axes that the signature wants."""
        wanted = self._spec.shape
        if wanted.rank is None:
            return images
        arrangements = [
            images,
            np.moveaxis(images, -1, 1),
            images.reshape(len(images), -1),
        ]
        if images.shape[-1] == 1:
            arrangements.append(images[..., 0])
        for arranged in arrangements:
            if wanted.rank == arranged.ndim and wanted.is_compatible_with(arranged.shape):
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


def _chosen(kind: str, name: str | None, available, preferred: tuple[str, ...]):
    name = name or _default(available, preferred)
    if name not in available:
        received = f"Received: {name}. " if name else "Say which to use. "
        raise ValueError(
            f"`{kind}` must be one of the SavedModel's. {received}"
            f"Available: {', '.join(available) or 'none'}"
        )
    return available[name]


def _default(available, preferred: tuple[str, ...]) -> str | None:
    """The first of the preferred names that is available, or the only one."""
    for name in preferred:
        if name in available:
            return name
    return next(iter(available)) if len(available) == 1 else None

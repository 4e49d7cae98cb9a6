"""A network that a function of one's own builds."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class OwnNetwork:
    """A family of one, made by `make(input_shape=..., classes=...)`."""

    make: Callable[..., "keras.Model"]

    def build(
        self, name: str, *, input_shape: tuple[int, int, int], classes: int
    ) -> "keras.Model":
        """Builds it; a ValueError says what the others have and it has not."""
        model = self.make(input_shape=input_shape, classes=classes)
        if model.output_shape != (None, classes):
            raise ValueError(
                f"Network {name!r} must give logits [batch, {classes}]. Its output is "
                f"{model.output_shape}"
            )
        for layer in model.layers:
            # Keras's own names, such as conv2d_3, count the layers of the whole process.
            word = layer.name.rstrip("0123456789").replace("_", "")
            if layer.weights and word == type(layer).__name__.lower():
                raise ValueError(
                    f"Network {name!r} must name its layers, as by "
                    f"{type(layer).__name__}(..., name='stem'), so that they are called "
                    f"the same whenever it is built. Received: {layer.name!r}"
                )
        return model

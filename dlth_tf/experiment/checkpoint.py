"""The state of a training in progress, in one file that is whole or absent."""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from dlth_tf.files import atomic_write
from dlth_tf.variables import get_weights, set_weights

FILE = "checkpoint.npz"


@dataclasses.dataclass
class Progress:
    """How far a training is, beside the weights.

    Attributes:
        epoch: epochs done.
        seconds: time they took.
        history: metrics of each epoch done.
        finished: nothing is left to do.
    """

    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    finished: bool = False


def save(
    folder: Path,
    model: keras.Model,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Replaces the folder's checkpoint by the present state.

    Callbacks that have a state of their own say so by `get_state` and `set_state`.
    """
    arrays = {f"weights/{name}": value for name, value in get_weights(model).items()}
    for place, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer/{place}"] = keras.ops.convert_to_numpy(variable)
    for place, callback in enumerate(callbacks):
        if hasattr(callback, "get_state"):
            for name, value in callback.get_state().items():
                arrays[f"callback{place}/{name}"] = value
    with atomic_write(folder / FILE) as file:
        np.savez(file, progress=json.dumps(dataclasses.asdict(progress)), **arrays)


class Checkpoint:
    """The state in a folder, read; the very beginning if there is none."""

    def __init__(self, folder: Path):
        self._arrays = _read(folder / FILE)
        self.progress = Progress()
        if "progress" in self._arrays:
            self.progress = Progress(**json.loads(str(self._arrays["progress"])))

    def restore_model(self, model: keras.Model) -> None:
        """Puts the state into a compiled model whose optimizer is built."""
        if not self._arrays:
            return
        set_weights(model, self._part("weights"))
        for place, variable in enumerate(model.optimizer.variables):
            variable.assign(self._arrays[f"optimizer/{place}"])

    def restore_callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Gives callbacks their own state back."""
        for place, callback in enumerate(callbacks):
            state = self._part(f"callback{place}")
            if state:
                callback.set_state(state)

    def _part(self, prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(f"{prefix}/"): value
            for name, value in self._arrays.items()
            if name.startswith(f"{prefix}/")
        }


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise OSError(
            f"The checkpoint '{path}' is damaged ({error}). Remove it to train this "
            "stage from its beginning."
        ) from error


def remove(folder: Path) -> None:
    """Drops the checkpoint of a training that is finished."""
    (folder / FILE).unlink(missing_ok=True)

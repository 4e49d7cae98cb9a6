"""The state of a training in progress: the last two, each with a checksum."""

import dataclasses
import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from dlth_tf.experiment.engine.folder import CHECKPOINTS
from dlth_tf.experiment.engine.progress import Progress
from dlth_tf.files import atomic_write
from dlth_tf.network.variables import get_weights, named_variables, set_weights
from dlth_tf.step.callback import saved_state

_CHECKSUM = "sha256"
_log = logging.getLogger(__name__)


class Checkpoints:
    """The last two states of a training, in its folder, and the one it goes on from.

    A new one takes the place of the older, or of a damaged one: whatever happens while
    it is written, the newest stays.
    """

    def __init__(self, folder: Path):
        self._files = [folder / name for name in CHECKPOINTS]
        self._arrays: dict[str, np.ndarray] = {}
        self.progress = Progress()

    def read(self, tell: Callable[[str], None]) -> "Checkpoints":
        """Reads the newest state that is whole; tells of each damaged one in a line."""
        found, damaged = {}, {}
        for path in self._files:
            try:
                arrays = _read(path)
                found[path] = arrays, Progress(**json.loads(str(arrays["progress"])))
            except FileNotFoundError:
                continue
            except ValueError as error:
                damaged[path] = error

        def age(path: Path) -> tuple[int, int]:
            _, progress = found.get(path, ({}, Progress(epoch=-1)))
            return progress.epoch, progress.step

        self._files.sort(key=age)
        if found:
            self._arrays, self.progress = found[self._files[-1]]
        for path, why in damaged.items():
            instead = "the one before is used" if found else "there is no other"
            tell(
                f"The checkpoint '{path}' is damaged ({why}); {instead}: going on "
                f"after {self.progress}."
            )
        return self

    def restore_model(self, model: keras.Model) -> None:
        """Puts the state into a compiled model whose optimizer is built."""
        if self._arrays:
            names = named_variables(model)
            set_weights(model, {name: self._arrays[f"weights/{name}"] for name in names})
            self._assign("optimizer", model.optimizer.variables)

    def restore_metrics(self, model: keras.Model) -> None:
        """Gives a model the metrics of an epoch that is under way, within `fit`."""
        if f"metrics/{len(model.metrics_variables)}" in self._arrays:
            # Keras makes metrics' variables when they first see data.
            logits = keras.ops.zeros((1, *model.output_shape[1:]))
            model.compute_metrics(None, keras.ops.zeros((1,), "int32"), logits)
        self._assign("metrics", model.metrics_variables)

    def restore_callbacks(self, model: keras.Model) -> None:
        """Gives the callbacks of a `fit` that has begun what was saved of them."""
        if self._arrays:
            self._assign("callbacks", saved_state(model))

    def _assign(self, part: str, variables: Sequence[keras.Variable]) -> None:
        for place, variable in enumerate(variables):
            variable.assign(self._arrays[f"{part}/{place}"])

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Replaces the older state by the present one, within `fit`."""
        began = time.monotonic()
        arrays = _arrays(model, progress)
        oldest = self._files[0]
        with atomic_write(oldest) as file:
            checksum = {_CHECKSUM: np.array(_checksum(arrays))}
            np.savez(file, **arrays, **checksum)  # type: ignore[arg-type]
            size = file.tell()
        self._files.reverse()
        seconds = time.monotonic() - began
        progress.checkpoints["number"] += 1
        progress.checkpoints["bytes"] = size
        progress.checkpoints["seconds"] += seconds
        _log.info("%s: %s, %d bytes in %.3f s", oldest, progress, size, seconds)

    def remove(self) -> None:
        """Drops the states of a training that is finished."""
        for path in self._files:
            path.unlink(missing_ok=True)


def _arrays(model: keras.Model, progress: Progress) -> dict[str, np.ndarray]:
    optimizer: dict[str, np.ndarray] = {}
    model.optimizer.save_own_variables(optimizer)
    parts = {
        "weights": get_weights(model),
        "optimizer": optimizer,
        "callbacks": _values(saved_state(model)),
        "metrics": _values(model.metrics_variables) if progress.step else {},
    }
    arrays = {f"{part}/{n}": v for part in parts for n, v in parts[part].items()}
    return arrays | {"progress": np.array(json.dumps(dataclasses.asdict(progress)))}


def _values(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    return {str(n): keras.ops.convert_to_numpy(v) for n, v in enumerate(variables)}


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {np.shape(arrays[name])} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file; a ValueError says in what it is not what was written."""
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        expected = str(arrays.pop(_CHECKSUM))
    # Whatever unpacking raises (zipfile has a dozen errors), the file is damaged.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if _checksum(arrays) != expected:
        raise ValueError("its checksum differs")
    return arrays

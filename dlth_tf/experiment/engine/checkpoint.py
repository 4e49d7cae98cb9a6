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

from dlth_tf.files import atomic_write
from dlth_tf.network.variables import get_weights, set_weights
from dlth_tf.step.callback import saved_state

FILES = ("checkpoint-a.npz", "checkpoint-b.npz")
_CHECKSUM = "sha256"

_log = logging.getLogger(__name__)


@dataclasses.dataclass
class Progress:
    """How far a training is, beside the weights.

    Attributes:
        epoch: epochs done.
        step: steps done of the epoch after these.
        seconds: time they took.
        history: metrics of each epoch done.
        finished: nothing is left to do.
        checkpoints: how many were written before this one, the bytes of the last, and
            the seconds of all.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    finished: bool = False
    checkpoints: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"number": 0, "bytes": 0, "seconds": 0.0}
    )

    def __str__(self) -> str:
        steps = f" and {self.step} steps" if self.step else ""
        return f"epoch {self.epoch}{steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epoch * steps_per_epoch + self.step


class Checkpoint:
    """One state, read from its file; the very beginning if there is none."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self._arrays = arrays
        self.progress = Progress()
        if "progress" in arrays:
            self.progress = Progress(**json.loads(str(arrays["progress"])))

    def restore_model(self, model: keras.Model) -> None:
        """Puts the state into a compiled model whose optimizer is built."""
        if not self._arrays:
            return
        set_weights(model, self._part("weights"))
        _assign(model.optimizer.variables, self._part("optimizer"))

    def restore_metrics(self, model: keras.Model) -> None:
        """Gives a model the metrics of an epoch that is under way, within `fit`."""
        values = self._part("metrics")
        if len(model.metrics_variables) < len(values):
            # Keras makes metrics' variables when they first see data.
            logits = keras.ops.zeros((1, *model.output_shape[1:]))
            model.compute_metrics(None, keras.ops.zeros((1,), "int32"), logits)
        _assign(model.metrics_variables, values)

    def restore_callbacks(self, model: keras.Model) -> None:
        """Gives the callbacks of a `fit` that has begun what was saved of them."""
        if self._arrays:
            _assign(saved_state(model), self._part("callbacks"))

    def _part(self, prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(f"{prefix}/"): value
            for name, value in self._arrays.items()
            if name.startswith(f"{prefix}/")
        }


class Checkpoints:
    """The last two states of a training, in its folder.

    A new one takes the place of the older, or of a damaged one: whatever happens while
    it is written, the newest stays.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files = [folder / name for name in FILES]

    def newest(self, tell: Callable[[str], None]) -> Checkpoint:
        """Reads the newest state that is whole.

        Args:
            tell: is given a line for each damaged one.

        Raises:
            OSError: a file can't be read.
        """
        found, damaged = [], []
        for path in self._files:
            try:
                found.append((Checkpoint(_read(path)), path))
            except FileNotFoundError:
                continue
            except DamagedCheckpoint as error:
                damaged.append((path, error))
        found.sort(key=lambda pair: (pair[0].progress.epoch, pair[0].progress.step))
        newest = found[-1][0] if found else Checkpoint({})
        for path, why in damaged:
            instead = "the one before is used" if found else "there is no other"
            tell(
                f"The checkpoint '{path}' is damaged ({why}); {instead}: going on "
                f"after {newest.progress}."
            )
        unused = [path for path in self._files if path not in [p for _, p in found]]
        self._files = [*unused, *(path for _, path in found)]
        return newest

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Replaces the older state by the present one, within `fit`."""
        began = time.monotonic()
        arrays = _arrays(model, progress)
        oldest, *newer = self._files
        with atomic_write(oldest) as file:
            checksum = {_CHECKSUM: np.array(_checksum(arrays))}
            np.savez(file, allow_pickle=False, **arrays, **checksum)
            size = file.tell()
        self._files = [*newer, oldest]
        seconds = time.monotonic() - began
        progress.checkpoints["number"] += 1
        progress.checkpoints["bytes"] = size
        progress.checkpoints["seconds"] += seconds
        _log.info("%s: %s, %d bytes in %.3f s", oldest, progress, size, seconds)

    def remove(self) -> None:
        """Drops the states of a training that is finished."""
        for path in self._files:
            path.unlink(missing_ok=True)


class DamagedCheckpoint(Exception):
    """A file is not what was written; the message says in what."""


def _arrays(model: keras.Model, progress: Progress) -> dict[str, np.ndarray]:
    arrays = {f"weights/{name}": value for name, value in get_weights(model).items()}
    optimizer: dict[str, np.ndarray] = {}
    model.optimizer.save_own_variables(optimizer)
    arrays |= {f"optimizer/{place}": value for place, value in optimizer.items()}
    arrays |= _values("callbacks", saved_state(model))
    if progress.step:
        arrays |= _values("metrics", model.metrics_variables)
    arrays["progress"] = np.array(json.dumps(dataclasses.asdict(progress)))
    return arrays


def _values(prefix: str, variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    return {
        f"{prefix}/{place}": keras.ops.convert_to_numpy(variable)
        for place, variable in enumerate(variables)
    }


def _assign(
    variables: Sequence[keras.Variable], values: Mapping[str, np.ndarray]
) -> None:
    for place, variable in enumerate(variables):
        variable.assign(values[str(place)])


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {np.shape(arrays[name])} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        expected = str(arrays.pop(_CHECKSUM))
    # Whatever unpacking raises (zipfile has a dozen errors), the file is damaged.
    except Exception as error:
        raise DamagedCheckpoint(str(error) or type(error).__name__) from error
    if _checksum(arrays) != expected:
        raise DamagedCheckpoint("its checksum differs")
    return arrays

"""Where finished stages lie, and how they are told from unfinished ones."""

import contextlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dlth_tf.experiment.lock import Lock
from dlth_tf.experiment.stages import Stage, WeightsStage
from dlth_tf.files import atomic_write


class StageStore:
    """The folder of an experiment's stages.

    A stage is done when its `stage.json` is there, which is written last. A folder
    without one is work in progress; it is gone on with.
    """

    def __init__(self, output_dir: str | os.PathLike):
        self._root = Path(output_dir) / "stages"

    def folder(self, stage: Stage) -> Path:
        """The stage's folder, named for a person and for its key."""
        words = re.sub(r"[^a-z0-9.]+", "-", stage.title.lower()).strip("-")[:60]
        return self._root / f"{words}-{stage.key}"

    def is_done(self, stage: Stage) -> bool:
        return (self.folder(stage) / "stage.json").exists()

    @contextlib.contextmanager
    def lock(self, stage: Stage) -> Iterator[None]:
        """Makes sure that one program at a time works on a stage, in its folder.

        Raises:
            InUse: another one does.
        """
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder / ".lock", f"stage '{stage.title}'").held(needed=False):
            yield

    def record(self, stage: Stage) -> dict:
        """What was recorded when the stage was finished."""
        return json.loads((self.folder(stage) / "stage.json").read_text())

    def failure(self, stage: Stage) -> str | None:
        """Why a finished stage is no evidence; None if it is."""
        return self.record(stage).get("failed")

    def finish(self, stage: Stage, record: Mapping) -> None:
        write_json(
            self.folder(stage) / "stage.json",
            {"definition": stage.definition, **record},
        )

    def save_weights(self, folder: Path, weights: Mapping[str, np.ndarray]) -> None:
        with atomic_write(folder / WeightsStage.FILE) as file:
            np.savez(file, **weights)

    def load_weights(self, stage: WeightsStage) -> dict[str, np.ndarray]:
        """The weights a finished stage left."""
        return read_weights(self.folder(stage) / stage.FILE)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights in a stage's file.

    Raises:
        OSError: the file is damaged or gone.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise OSError(
            f"'{path}' is damaged ({error}). Remove its folder and run the same "
            "command again to compute the stage anew."
        ) from error


def write_json(path: Path, content) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())

"""A run that is finished, found again in its folder."""

import dataclasses
import os
from pathlib import Path

from dlth_tf.experiment.engine.folder import EXPERIMENT, RESULT, read_json
from dlth_tf.experiment.plan.protocol import Task
from dlth_tf.experiment.results.row import Row


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run of an experiment.

    Attributes:
        folder: the run's folder.
        task: the network and the data set.
        row: what was recorded of it.
    """

    folder: Path
    task: Task
    row: Row

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Reads a run from its folder, such as `runs/quickstart/runs/rst-0.98-seed0`.

        Raises:
            FileNotFoundError: there is no finished run; the message names those near.
            ValueError: the run failed.
            OSError: its files are damaged.
        """
        folder = Path(os.path.abspath(folder))
        if not (folder / RESULT).exists():
            near = sorted(path.parent.name for path in folder.parent.glob(f"*/{RESULT}"))
            raise FileNotFoundError(
                f"'{folder}' holds no finished run. Finished runs in "
                f"'{folder.parent}': {', '.join(near) or 'none'}"
            )
        experiment = folder.parent.parent / EXPERIMENT
        try:
            row = Row.parse(read_json(folder / RESULT))
            task = Task(**read_json(experiment)["task"])
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(f"The files of run '{folder}' are damaged: {error}") from error
        if row.failed:
            raise ValueError(f"Run '{folder}' has no network: {row.failed}.")
        return cls(folder, task, row)

"""A run that is finished, found again in its folder."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dlth_tf.experiment.stages import Task, TicketStage, WeightsStage
from dlth_tf.experiment.store import read_weights

if TYPE_CHECKING:
    import keras

_RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run of an experiment.

    Attributes:
        folder: the run's folder.
        task: the network and the data set.
        result: what was recorded of it.
    """

    folder: Path
    task: Task
    result: dict

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Reads a run from its folder, such as `runs/quickstart/runs/rst-0.98-seed0`.

        Raises:
            FileNotFoundError: there is no finished run; the message names those near.
            ValueError: the run failed.
            OSError: its files are damaged.
        """
        folder = Path(os.path.abspath(folder))
        if not (folder / _RESULT).exists():
            near = sorted(path.parent.name for path in folder.parent.glob(f"*/{_RESULT}"))
            raise FileNotFoundError(
                f"'{folder}' holds no finished run. Finished runs in "
                f"'{folder.parent}': {', '.join(near) or 'none'}"
            )
        experiment = folder.parent.parent / "experiment.json"
        try:
            result = json.loads((folder / _RESULT).read_text())
            task = Task(**json.loads(experiment.read_text())["task"])
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"The files of run '{folder}' are damaged: {error}") from error
        if "failed" in result:
            raise ValueError(f"Run '{folder}' has no network: {result['failed']}.")
        return cls(folder, task, result)

    def network(self, data) -> "keras.Model":
        """The trained network, in Keras's own layers alone.

        Args:
            data: the run's data set, for the number of classes and the images' size.
        """
        from dlth_tf.network.variables import set_weights
        from dlth_tf.shrinking import shrink
        from dlth_tf.tickets.ticket import Ticket
        from official.modeling.layers import plain
        from official.modeling.networks import build_network

        last = self._stage(self.result["stages"][-1])
        network = build_network(
            self.task.network,
            input_shape=data.input_shape,
            classes=len(data.class_names),
        )
        if self.result.get("shrunk_by"):
            ticket = Ticket.load(self._stage(self.result["shrunk_by"]) / TicketStage.FILE)
            network = shrink(network, ticket)
        set_weights(network, read_weights(last / WeightsStage.FILE))
        return plain(network)

    def _stage(self, recorded: str) -> Path:
        """The folder of a stage, also if the experiment has been moved."""
        return self.folder.parent.parent / "stages" / Path(recorded).name

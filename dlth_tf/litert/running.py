"""Running a LiteRT file, by LiteRT's own package or by TensorFlow's."""

import importlib.util
import math
from typing import Any

import numpy as np


class LiteRTFile:
    """A LiteRT file with one input, as a function from a batch to outputs by name.

    >>> from dlth_tf.litert.running import LiteRTFile
    >>> file = dlth.export_litert(model, "model.tflite")
    >>> outputs = LiteRTFile(file.path.read_bytes())(images[:1])

    Raises:
        ValueError: it is damaged, or can't be run here.
    """

    def __init__(self, content: bytes, threads: int = 1):
        try:
            self._interpreter = _interpreter_class()(
                model_content=content, num_threads=threads
            )
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner()
            ((self._input, details),) = self._run.get_input_details().items()
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"The LiteRT file can't be run: {reason}") from error
        self._batch, self._dtype = int(details["shape"][0]), details["dtype"]

    def __call__(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        batches = math.ceil(len(examples) / self._batch)
        filled = np.resize(examples, (batches * self._batch, *examples.shape[1:]))
        outputs = [
            self._run(**{self._input: batch.astype(self._dtype)})
            for batch in np.split(filled, batches)
        ]
        return {
            name: np.concatenate([output[name] for output in outputs])[: len(examples)]
            for name in outputs[0]
        }


def _interpreter_class() -> Any:
    if importlib.util.find_spec("ai_edge_litert"):
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter
    return importlib.import_module("tensorflow").lite.Interpreter

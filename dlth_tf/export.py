"""Exports the network of a finished run as a TensorFlow SavedModel.

    dlth-export --run=runs/quickstart/runs/rst-0.98-seed0 --output=exports/1

The folder holds the SavedModel, metadata.json, and what else --format names. Nothing of
this project is needed to load any of it.
"""

from pathlib import Path

from absl import flags

from dlth_tf.experiment import command_line
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.results.results import FinishedRun
from official import data
from official.common import DEFINE_path

program_flags.register()
FLAGS = program_flags.FLAGS

flags.declare_key_flag("data_dir")
flags.declare_key_flag("plugins")
DEFINE_path(
    "run", None, "Folder of a finished run: OUTPUT_DIR/runs/NAME, see results.jsonl."
)
DEFINE_path("output", None, "New folder to export to.")
flags.DEFINE_list(
    "format",
    ["saved_model"],
    "What to write, separated by commas: saved_model; keras, a file for Keras; litert, "
    "a file for small devices.",
)
flags.DEFINE_enum(
    "storage",
    "float32",
    ["float32", "float16"],
    "What a LiteRT file's weights are stored in: float16 takes half the space.",
)
flags.DEFINE_enum(
    "quantize",
    None,
    ["int8"],
    "Store and compute LiteRT's file in whole numbers, their ranges taken from training "
    "images; zeros stay zeros. Its accuracy is measured on the test images.",
)
flags.DEFINE_bool(
    "normalization_inside",
    True,
    "Put the images' normalisation into the model, so that it takes pixels as they "
    "come. Without it images must come normalised.",
)


@command_line.ends_in_a_line
def main() -> None:
    for flag in ("run", "output"):
        if not FLAGS[flag].value:
            raise ValueError(f"--{flag} is needed. See --help.")
    if FLAGS.quantize and "litert" not in FLAGS.format:
        raise ValueError(
            "--quantize is for --format=litert. Received: "
            f"--format={','.join(FLAGS.format)}"
        )
    run = FinishedRun.read(FLAGS.run)
    command_line.start_tensorflow_quietly()
    from dlth_tf.experiment.running import export_run, litert_accuracy

    data_dir = FLAGS.data_dir or run.row.flags.get("data_dir")
    images = data.load(
        run.task.dataset, data_dir=data_dir, image_size=run.task.image_size
    )
    inside, storage = FLAGS.normalization_inside, FLAGS.quantize or FLAGS.storage
    metadata = export_run(run, FLAGS.output, images, FLAGS.format, inside, storage)
    size = sum(metadata["bytes"].values())
    print(
        f"{FLAGS.output}: {', '.join(FLAGS.format)}, {size:,} bytes, "
        f"{metadata['parameters_not_zero']:,} of {metadata['parameters']:,} parameters "
        f"not zero, test accuracy {100 * metadata['accuracy']['top1']:.2f}%"
    )
    if "litert" in metadata:
        print(f"model.tflite: {storage}. {metadata['litert']['report']}")
    if FLAGS.quantize:
        accuracy = litert_accuracy(Path(FLAGS.output, "model.tflite"), images, inside)
        before = metadata["accuracy"]["top1"]
        print(f"test accuracy {100 * before:.2f}%, in {storage} {100 * accuracy:.2f}%")


def run() -> None:
    """The program, with the command line's flags."""
    command_line.start(main)


if __name__ == "__main__":
    run()

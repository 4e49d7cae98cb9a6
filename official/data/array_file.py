"""Small sets as one file of arrays, for machines without TensorFlow.

    python -m official.data.array_file --dataset=cifar10 --data_dir=~/data

decodes a set of TensorFlow Datasets once and writes `~/data/cifar10.npz`. Where such a
file lies in `--data_dir`, it is read in place of the set.
"""

from absl import app, flags

from official.common import DEFINE_path
from official.data import tfds
from official.data.images import array_path, write_arrays


def main(argv: list[str]) -> None:
    """Writes the file of the set that the flags name."""
    name, folder = flags.FLAGS.dataset, flags.FLAGS.data_dir
    path = array_path(name, folder)
    write_arrays(path, tfds.arrays(name, folder))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "cifar10", "Name of a small set.")
    DEFINE_path("data_dir", None, "Folder of the sets.", required=True)
    app.run(main)

"""Small sets as one file of arrays, for machines without TensorFlow.

    python -m official.data.array_file --dataset=cifar10 --data_dir=~/data

decodes a set of TensorFlow Datasets once and writes `~/data/cifar10.npz`. Where such a
file lies in `--data_dir`, it is read in place of the set.
"""

import os
import zipfile
from pathlib import Path

import numpy as np
from absl import app, flags

from official.common.path_flag import DEFINE_path
from official.data.array_data import LabelledImages

Arrays = tuple[LabelledImages, LabelledImages, tuple[str, ...]]
_NAMES = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


def array_file(name: str, data_dir: str | os.PathLike) -> Path:
    """Where the file of a set lies in a folder."""
    return Path(data_dir).expanduser() / f"{name}.npz"


def read(path: Path) -> Arrays:
    """Reads training images, test images and class names.

    Raises:
        OSError: the file is damaged or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            train, y_train, test, y_test, class_names = (file[name] for name in _NAMES)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise OSError(
            f"'{path}' must hold the arrays {', '.join(_NAMES)}: {error}"
        ) from error
    names = tuple(str(name) for name in class_names)
    return LabelledImages(train, y_train), LabelledImages(test, y_test), names


def write(path: Path, arrays: Arrays) -> None:
    """Writes what `read` reads."""
    train, test, class_names = arrays
    values = (*train, *test, np.array(class_names))
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **dict(zip(_NAMES, values, strict=True)))
    partial.replace(path)


def main(argv: list[str]) -> None:
    """Writes the file of the set that the flags name."""
    from official.data.tfds_arrays import read as read_prepared

    folder = flags.FLAGS.data_dir
    path = array_file(flags.FLAGS.dataset, folder)
    write(path, read_prepared(flags.FLAGS.dataset, folder))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "cifar10", "Name of a small set.")
    DEFINE_path("data_dir", None, "Folder of the sets.", required=True)
    app.run(main)

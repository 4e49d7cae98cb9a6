"""Small sets as one file of arrays, for machines without TensorFlow.

    python -m official.data.array_file --dataset=cifar10 --data_dir=~/data

decodes a set of TensorFlow Datasets once and writes `~/data/cifar10.npz`. Where such a
file lies in `--data_dir`, it is read in place of the set.
"""

import functools
import zipfile
from pathlib import Path

import numpy as np
from absl import app, flags

from official.common.path_flag import DEFINE_path
from official.data import tfds
from official.data.images import DecodedImages, ImageSet

_NAMES = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


def is_there(name: str, data_dir: str | None) -> bool:
    """Whether a folder holds the file of a set."""
    return data_dir is not None and _path(name, data_dir).exists()


@functools.cache
def arrays(name: str, data_dir: str | None) -> ImageSet[DecodedImages]:
    """Reads a set once per process: its file, or else what TensorFlow Datasets has.

    Raises:
        FileNotFoundError: the set is not there and cannot be downloaded.
        OSError: the file is damaged or holds something else.
    """
    if data_dir is not None and is_there(name, data_dir):
        return read(_path(name, data_dir))
    return tfds.decoded(name, data_dir)


def read(path: Path) -> ImageSet[DecodedImages]:
    """Reads a file of arrays; raises `OSError` if it is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            train, y_train, test, y_test, class_names = (file[name] for name in _NAMES)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise OSError(
            f"'{path}' must hold the arrays {', '.join(_NAMES)}: {error}"
        ) from error
    names = tuple(str(name) for name in class_names)
    return ImageSet(DecodedImages(train, y_train), DecodedImages(test, y_test), names)


def write(path: Path, images: ImageSet[DecodedImages]) -> None:
    """Writes what `read` reads."""
    train, test = images.train, images.test
    names = np.array(images.class_names)
    values = (train.pixels, train.labels, test.pixels, test.labels, names)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **dict(zip(_NAMES, values, strict=True)))
    partial.replace(path)


def _path(name: str, data_dir: str) -> Path:
    return Path(data_dir).expanduser() / f"{name}.npz"


def main(argv: list[str]) -> None:
    """Writes the file of the set that the flags name."""
    name, folder = flags.FLAGS.dataset, flags.FLAGS.data_dir
    path = _path(name, folder)
    write(path, arrays(name, folder))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "cifar10", "Name of a small set.")
    DEFINE_path("data_dir", None, "Folder of the sets.", required=True)
    app.run(main)

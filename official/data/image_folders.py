"""Images in folders, one folder per class, and Tiny-ImageNet's own layout."""

import collections
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from official.common.choices import nearest
from official.data import order
from official.data.encoded_images import EncodedImages

_TRAIN = "train"
_TESTS = ("test", "val", "validation")
_ANNOTATIONS = "val_annotations.txt"
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_TEST_FRACTION = 0.2
_TEST_DRAW = 2


@dataclasses.dataclass(frozen=True)
class ImageFolders:
    """The images of a folder: those trained on and those tested on.

    Attributes:
        class_names: names of the classes' folders, sorted, by label.
        train: training images; the first of each class, then the second, and so on,
            so that the first so many are a fair sample.
        test: images tested on, class by class.
    """

    class_names: tuple[str, ...]
    train: EncodedImages
    test: EncodedImages


def find_images(
    root: str | os.PathLike, *, every: int = 1, needs_train: bool = False
) -> ImageFolders:
    """Finds the images below `root`, in one of three layouts.

    - `train/CLASS/*.jpg`, and `test/CLASS/*.jpg` (or else `val`, `validation`)
    - Tiny-ImageNet's own: `train/CLASS/images/*.JPEG`, `val/images/*.JPEG` and their
      classes in `val/val_annotations.txt`
    - `CLASS/*.jpg`: a fifth of each class, always the same, is the test

    Args:
        root: the folder.
        every: take only every so manieth class, in the order of their names.
        needs_train: whether the last of the layouts is refused.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: there is but one class, or the test images have other classes, or no
            label.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"No folder {root}, which is to hold images")
    split = (root / _TRAIN).is_dir()
    if not split:
        _require_classes(root, needs_train)
    folder = root / _TRAIN if split else root
    train = {name: _images_below(folder / name) for name in _subfolders(folder)}
    _require_images(folder, train)
    train, test = (train, _test_images(root, train)) if split else _parted(train)
    classes = list(train)[::every]
    train = {name: train[name] for name in classes}
    test = [(name, path) for name in classes for path in test[name]]
    if not test:
        raise FileNotFoundError(
            f"No test images in {root}: one of {', '.join(_TESTS)} must hold a folder "
            "per class, or else the classes at least three images each"
        )
    return ImageFolders(
        class_names=tuple(classes),
        train=_encoded(classes, _dealt(train)),
        test=_encoded(classes, test),
    )


def parted_below(root: Path) -> Path | None:
    """The folder in `root` that holds train/ and test/, where `root` does not."""
    found = (path.parent for path in sorted(root.glob(f"*/{_TRAIN}/")))
    return next((path for path in found if _test_folders(path)), None)


def _require_classes(root: Path, needs_train: bool) -> None:
    """Raises `FileNotFoundError` if `root`, without train/, is no folder of classes."""
    parted = parted_below(root)
    if parted or needs_train:
        hint = f" Did you mean {parted}?" if parted else ""
        raise FileNotFoundError(f"No {_TRAIN}/ with a folder per class in {root}.{hint}")


def _require_images(folder: Path, train: dict[str, list[str]]) -> None:
    """Raises if there are not two classes, each with images."""
    if not train:
        raise FileNotFoundError(
            f"No images in {folder}: it must hold a folder per class, or train/ and "
            "test/ with a folder per class in each"
        )
    for name, images in train.items():
        if not images:
            raise FileNotFoundError(f"No images in {folder / name}, a class's folder")
    if len(train) == 1:
        (name,) = train
        hint = f" Did you mean {folder / name}?" if _subfolders(folder / name) else ""
        raise ValueError(
            f"{folder} must hold a folder for each of two classes or more. Received: "
            f"one, {name}.{hint}"
        )


def _test_folders(root: Path) -> list[Path]:
    return [root / name for name in _TESTS if (root / name).is_dir()]


def _test_images(root: Path, train: dict) -> dict[str, list[str]]:
    """The test images of each class, from the first folder that has some by class."""
    folders = _test_folders(root)
    for folder in folders:
        if (folder / _ANNOTATIONS).is_file() and (folder / "images").is_dir():
            return _annotated(folder, train)
    found = [(folder, _images_by_class(folder)) for folder in folders]
    # First those that have a class of the training images, last those without images
    found.sort(key=lambda each: (not each[1].keys() & train.keys(), not each[1]))
    folder, test = found[0] if found else (root, {})
    for name in test:
        _require_class(name, train, folder)
    return collections.defaultdict(list, test)


def _images_by_class(folder: Path) -> dict[str, list[str]]:
    images = {name: _images_below(folder / name) for name in _subfolders(folder)}
    return {name: paths for name, paths in images.items() if paths}


def _annotated(folder: Path, train: dict) -> dict[str, list[str]]:
    """Images of a split whose classes stand in a text file, not in folder names."""
    test = collections.defaultdict(list)
    annotations = folder / _ANNOTATIONS
    there = set(_images_below(folder / "images"))
    for line in annotations.read_text().splitlines():
        file, _, rest = line.partition("\t")
        label, path = rest.partition("\t")[0], str(folder / "images" / file)
        if path not in there:
            raise FileNotFoundError(f"{annotations} names {path}, which is not there")
        _require_class(label, train, annotations)
        test[label].append(path)
        there.remove(path)
    if there:
        raise ValueError(f"{annotations} must name every image. It lacks {min(there)}")
    return test


def _require_class(name: str, train: dict, place: Path) -> None:
    if name not in train:
        near = nearest(name, list(train))
        hint = f" Is it {near!r}?" if near else ""
        raise ValueError(
            f"{place} has the class {name!r}, which no folder of training images has."
            f"{hint}"
        )


def _parted(images: dict[str, list[str]]) -> tuple[dict, dict]:
    """Puts a fifth of the images of each class aside for the test."""
    train, test = {}, {}
    for name, paths in images.items():
        count = round(_TEST_FRACTION * len(paths))
        aside = order.held_out(np.zeros(len(paths), int), [count], draw=_TEST_DRAW)
        train[name] = [path for path, a in zip(paths, aside, strict=True) if not a]
        test[name] = [path for path, a in zip(paths, aside, strict=True) if a]
    return train, test


def _dealt(images: dict[str, list[str]]) -> Iterable[tuple[str, str]]:
    """Class and path of each image, dealt out from the classes in turn."""
    most = max(map(len, images.values()), default=0)
    for rank in range(most):
        for name, paths in images.items():
            if rank < len(paths):
                yield name, paths[rank]


def _encoded(classes: list[str], images: Iterable[tuple[str, str]]) -> EncodedImages:
    labels = {name: label for label, name in enumerate(classes)}
    images = list(images)
    return EncodedImages.of_files(
        (path for _, path in images), (labels[name] for name, _ in images)
    )


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )


def _images_below(folder: Path) -> list[str]:
    return sorted(
        os.path.join(where, file)
        for where, _, files in os.walk(folder)
        for file in files
        if file.lower().endswith(_SUFFIXES) and not file.startswith(".")
    )

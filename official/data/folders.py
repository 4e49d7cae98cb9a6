"""Images in folders, one folder per class (`folder:PATH`), and Tiny-ImageNet's layout."""

import collections
import itertools
import os
from pathlib import Path

import numpy as np

from official.common import nearest
from official.data import presentation, splits
from official.data.description import KNOWN, Description, check_known
from official.data.images import EncodedImages, ImageSet
from official.data.presentation import Presentation

_PREFIX = "folder:"
_TRAIN = "train"
_TESTS = ("test", "val", "validation")
_ANNOTATIONS = "val_annotations.txt"
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_TEST_FRACTION = 0.2
_TEST_DRAW = 2

# The paths of the images of each class
Paths = dict[str, list[str]]


def load(name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
    """Loads `folder:PATH`, or `tiny_imagenet`: decoded if its images are small."""
    images, shown = _found(name, data_dir)
    train, test, view = images.train, images.test, shown.evaluation_view
    if not presentation.fit_in_memory(len(train) + len(test), shown.input_shape):
        return images, shown
    return ImageSet(train.decoded(view), test.decoded(view), images.class_names), shown


def describe(name: str, data_dir: str | None) -> Description:
    """Describes the images of a folder, of which only the first are opened."""
    if name in KNOWN and data_dir is None:
        return KNOWN[name]
    images, shown = _found(name, data_dir)
    title, classes = name.removeprefix(_PREFIX), len(images.class_names)
    sizes = len(images.train), len(images.test)
    return Description(name, title, *sizes, shown.input_shape, classes)


def encoded(name: str, data_dir: str | None) -> ImageSet[EncodedImages]:
    """Finds the images; see `find_images`."""
    path = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else data_dir
    if not path:
        raise FileNotFoundError(
            f"Dataset {name!r} needs the folder where it lies, as --data_dir. To get "
            f"it: {KNOWN[name].source}"
        )
    return find_images(path, needs_train=name in KNOWN)


def presentation_of(images: ImageSet[EncodedImages]) -> Presentation:
    """What the first image of each class tells: small and all of one size, or not."""
    firsts = range(min(len(images.class_names), len(images.train)))
    sizes = {images.train.picture(index).size for index in firsts}
    width, height = sizes.pop()
    return presentation.large() if sizes else presentation.fitting((height, width))


def find_images(
    root: str | os.PathLike, *, every: int = 1, needs_train: bool = False
) -> ImageSet[EncodedImages]:
    """Finds the images below `root`, in one of three layouts.

    - `train/CLASS/*.jpg`, and `test/CLASS/*.jpg` (or else `val`, `validation`)
    - Tiny-ImageNet's own: `train/CLASS/images/*.JPEG`, `val/images/*.JPEG` and their
      classes in `val/val_annotations.txt`
    - `CLASS/*.jpg`: a fifth of each class, always the same, is the test

    Classes are sorted by the names of their folders. Training images are dealt out: the
    first of each class, then the second, and so on. Test images go class by class.

    Of the classes only each `every`-th is taken; with `needs_train` the last of the
    layouts is refused. A folder without images is a FileNotFoundError; one class alone,
    or test images of others, or without a label, a ValueError.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"No folder {root}, which is to hold images")
    split = (root / _TRAIN).is_dir()
    parted = None if split else parted_below(root)
    if parted or (needs_train and not split):
        hint = f" Did you mean {parted}?" if parted else ""
        raise FileNotFoundError(f"No {_TRAIN}/ with a folder per class in {root}.{hint}")
    folder = root / _TRAIN if split else root
    train = {name: _images_below(folder / name) for name in _subfolders(folder)}
    _require_images(folder, train)
    train, test = (train, _test_images(root, train)) if split else _parted(train)
    classes = list(train)[::every]
    tested = [(name, path) for name in classes for path in test[name]]
    if not tested:
        raise FileNotFoundError(
            f"No test images in {root}: one of {', '.join(_TESTS)} must hold a folder "
            "per class, or else the classes at least three images each"
        )
    trained = _dealt({name: train[name] for name in classes})
    return ImageSet(_encoded(classes, trained), _encoded(classes, tested), tuple(classes))


def parted_below(root: Path) -> Path | None:
    """The folder in `root` that holds train/ and test/, where `root` does not."""
    found = (path.parent for path in sorted(root.glob(f"*/{_TRAIN}/")))
    return next((path for path in found if _test_folders(path)), None)


def _found(
    name: str, data_dir: str | None
) -> tuple[ImageSet[EncodedImages], Presentation]:
    images = encoded(name, data_dir)
    shown = presentation_of(images)
    check_known(name, shown.input_shape, len(images.class_names))
    return images, shown


def _require_images(folder: Path, train: Paths) -> None:
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


def _test_images(root: Path, train: Paths) -> Paths:
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


def _images_by_class(folder: Path) -> Paths:
    images = {name: _images_below(folder / name) for name in _subfolders(folder)}
    return {name: paths for name, paths in images.items() if paths}


def _annotated(folder: Path, train: Paths) -> Paths:
    """Images of a split whose classes stand in a text file, not in folder names."""
    test: Paths = collections.defaultdict(list)
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


def _require_class(name: str, train: Paths, place: Path) -> None:
    if name not in train:
        near = nearest(name, list(train))
        hint = f" Is it {near!r}?" if near else ""
        raise ValueError(
            f"{place} has the class {name!r}, which no folder of training images has."
            f"{hint}"
        )


def _parted(images: Paths) -> tuple[Paths, Paths]:
    """Puts a fifth of the images of each class aside for the test."""
    train, test = {}, {}
    for name, paths in images.items():
        count = np.array([round(_TEST_FRACTION * len(paths))])
        aside = splits.held_out(np.zeros(len(paths), int), count, draw=_TEST_DRAW)
        train[name] = list(itertools.compress(paths, ~aside))
        test[name] = list(itertools.compress(paths, aside))
    return train, test


def _dealt(images: Paths) -> list[tuple[str, str]]:
    """Class and path of each image, dealt out from the classes in turn."""
    rows = itertools.zip_longest(*images.values())
    pairs = (zip(images, row, strict=True) for row in rows)
    return [(name, path) for row in pairs for name, path in row if path]


def _encoded(classes: list[str], images: list[tuple[str, str]]) -> EncodedImages:
    labels = {name: label for label, name in enumerate(classes)}
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

"""Images of one's own in folders (`folder:PATH`), and Tiny-ImageNet."""

import math

from official.data import presentation
from official.data.array_data import LabelledImages, image_data
from official.data.description import Description
from official.data.encoded_images import decode_all
from official.data.image_data import ImageData
from official.data.image_folders import ImageFolders, find_images
from official.data.known import KNOWN, check_known
from official.data.streamed_data import MOST_BYTES_IN_MEMORY, streamed_data

PREFIX = "folder:"


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ImageData:
    """Loads `folder:PATH`, or `tiny_imagenet` from the folder `data_dir`.

    Small images, all of one size, are decoded once if they fit in memory.
    """
    folders, shown = _found(name, data_dir)
    arguments = {
        "class_names": folders.class_names,
        "train_examples": train_examples,
        "validation_fraction": validation_fraction,
    }
    if not _fits_in_memory(folders, shown):
        return streamed_data(
            name,
            train=folders.train,
            test=folders.test,
            presentation=shown,
            **arguments,
        )
    train, test = (
        LabelledImages(decode_all(images, shown.evaluation_view), images.labels)
        for images in (folders.train, folders.test)
    )
    return image_data(
        name,
        train=train,
        test=test,
        normalization=shown.normalization,
        augmentation=shown.augmentation,
        **arguments,
    )


def describe(name: str, data_dir: str | None) -> Description:
    """Describes the images of a folder, of which only the first are opened."""
    if name in KNOWN and data_dir is None:
        return KNOWN[name]
    folders, shown = _found(name, data_dir)
    return Description(
        name=name,
        title=name.removeprefix(PREFIX),
        train_size=len(folders.train),
        test_size=len(folders.test),
        input_shape=shown.input_shape,
        classes=len(folders.class_names),
    )


def encoded(name: str, data_dir: str | None) -> ImageFolders:
    """Finds the images; see `find_images`."""
    return find_images(_root(name, data_dir), needs_train=name in KNOWN)


def _found(
    name: str, data_dir: str | None
) -> tuple[ImageFolders, presentation.Presentation]:
    folders = encoded(name, data_dir)
    shown = presentation_of(folders)
    check_known(name, shown.input_shape, len(folders.class_names))
    return folders, shown


def _root(name: str, data_dir: str | None) -> str:
    path = name.removeprefix(PREFIX) if name.startswith(PREFIX) else data_dir
    if not path:
        raise FileNotFoundError(
            f"Dataset {name!r} needs the folder where it lies, as --data_dir. To get "
            f"it: {KNOWN[name].source}"
            if name in KNOWN
            else f"A folder of images is named as {PREFIX}PATH. Received: {name!r}"
        )
    return path


def presentation_of(folders: ImageFolders) -> presentation.Presentation:
    """What the first image of each class tells: small and all of one size, or not."""
    firsts = range(min(len(folders.class_names), len(folders.train)))
    sizes = {folders.train.picture(index).size[::-1] for index in firsts}
    if len(sizes) == 1 and presentation.is_small(*sizes):
        return presentation.small(*sizes)
    return presentation.large()


def _fits_in_memory(folders: ImageFolders, shown: presentation.Presentation) -> bool:
    images = len(folders.train) + len(folders.test)
    return presentation.is_small(shown.input_shape[:2]) and (
        images * math.prod(shown.input_shape) <= MOST_BYTES_IN_MEMORY
    )

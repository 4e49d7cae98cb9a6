"""How the images of a set are shown to a network, as the papers' programs do it."""

import dataclasses

from official.data.augmentation import Augmentation
from official.data.encoded_images import View
from official.data.image_data import Normalization
from official.data.views import CentreCrop, RandomResizedCrop, WholePicture

IMAGENET = Normalization(
    scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_GREY = Normalization(scale=255.0, mean=(0.5,), std=(0.5,))

LARGE = 224
_LARGE_SHORTER_SIDE = 256
_LARGEST_SMALL_SIDE = 96
_SIDE_PER_PADDING = 8


@dataclasses.dataclass(frozen=True)
class Presentation:
    """What a network gets to see of the images of a set.

    Attributes:
        input_shape: height, width and channels.
        normalization: applied to every image.
        augmentation: applied to training images, before normalization.
        train_view: what is cut out of a picture in training.
        evaluation_view: what is cut out of it in evaluation.
    """

    input_shape: tuple[int, int, int]
    normalization: Normalization
    augmentation: Augmentation
    train_view: View
    evaluation_view: View


def is_small(size: tuple[int | None, int | None]) -> bool:
    """Whether images of this height and width are shown whole."""
    return all(side is not None and side <= _LARGEST_SMALL_SIDE for side in size)


def small(size: tuple[int, int], channels: int = 3) -> Presentation:
    """Whole pictures; a black border, a random crop and a flip in training.

    The border is an eighth of the shorter side: 4 pixels for 32x32 (CIFAR), 8 for
    64x64 (Tiny-ImageNet). Grey values, digits and letters for the most part, are
    neither cropped nor flipped.
    """
    whole = WholePicture(size, _mode(channels))
    padding = min(size) // _SIDE_PER_PADDING
    grey = channels == 1
    return Presentation(
        input_shape=(*size, channels),
        normalization=_GREY if grey else IMAGENET,
        augmentation=Augmentation() if grey else Augmentation(pad=padding, flip=True),
        train_view=whole,
        evaluation_view=whole,
    )


def large(channels: int = 3) -> Presentation:
    """ImageNet's: a random resized crop of 224x224 and a flip in training.

    In evaluation the shorter side is resized to 256, then the middle is taken.
    """
    mode = _mode(channels)
    return Presentation(
        input_shape=(LARGE, LARGE, channels),
        normalization=_GREY if channels == 1 else IMAGENET,
        augmentation=Augmentation(flip=channels == 3),
        train_view=RandomResizedCrop(LARGE, mode),
        evaluation_view=CentreCrop(_LARGE_SHORTER_SIDE, LARGE, mode),
    )


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"

"""Tables of the networks and the data sets, as they stand in the documentation.

python -m official.catalogue > docs/networks_and_data.md
"""

from collections.abc import Iterable

from official.data import Description
from official.data.known import KNOWN
from official.modeling.networks.published import SIZES, Size

_INTRODUCTION = """# Networks and data

`python -m official.catalogue` writes this page, and a test holds it against the code.
"""

_NETWORKS = """
## Networks

`--model=NAME` takes one of these. Parameters are the trainable ones, for the input and
the number of classes named; a published number is quoted as its source gives it.
"""

_MORE_NETWORKS = """
- `wrn-DEPTH-WIDTH` is any wide residual network: `wrn-22-8`.
- `keras:NAME` is any network of `keras.applications`, untrained:
  `keras:MobileNetV3Small`. Its parameters are those that Keras documents.
- VGG has one classifier on the average of the last convolutions in place of three fully
  connected layers; the published numbers are of the convolutions alone. With BatchNorm
  convolutions have no bias.
- LeNet-300-100 has 338,610 parameters on the 1024 pixels of a padded MNIST image.
- MobileNetV2's paper says 3.4M.
- ResNet-50 has the stride of a block in its 3x3 convolution, as PyTorch has it;
  `keras.applications.ResNet50` in the first 1x1 one.
"""

_DATA = """
## Data

`--dataset=NAME` takes one of these. Sizes are of the training and the test part.
"""

_MORE_DATA = """
- `tfds:NAME` is any other set of TensorFlow Datasets whose examples have an `image` and
  a `label`, with its own licence; the test part is its `test` split, or else its
  `validation` split.
- `folder:PATH` is a folder of images: `train/CLASS/*.jpg` and `test/CLASS/*.jpg` (or
  else `val`), Tiny-ImageNet's own layout, or `CLASS/*.jpg` alone, of which a fifth of
  each class, always the same, is the test part. It has two classes or more.
- `tiny_imagenet` and `imagenet` must have `train/` and all their classes, and every
  label must be one of a class. What has a part of them is a `folder:PATH`.
- Augmentation is the paper's. CIFAR and Tiny-ImageNet: a black border of an eighth of the
  side, a random crop, a flip; ImageNet: a random resized crop to 224x224 and a flip, in
  the test the shorter side resized to 256 and the middle taken. MNIST and Fashion-MNIST
  are padded with black to 32x32 and not augmented. Other sets are treated like CIFAR if
  their images are all of one size of at most 96x96, else like ImageNet; grey values are
  not augmented, or cropped only.
- A picture is read as a person sees it: turned as its EXIF orientation says, what is
  transparent shows black, of 16 bits the upper 8 count. Only the small sets that
  TensorFlow Datasets decodes are what it makes of them.
- Normalization is the paper's too: ImageNet's mean and deviation for all colour images
  but CIFAR-100's, which has its own, as MNIST and Fashion-MNIST have.
- Tiny-ImageNet and ImageNet are tested on their validation part: the labels of the test
  part are not public.
- The paper does not list its 200 classes of ImageNet, and its authors' program draws them
  at random for each copy. `imagenet200` takes every fifth class, sorted by WordNet id;
  how many training images these have is known once they are there (1,281 to a class on
  average). A copy with other classes can be used as `folder:PATH`.
- A set that is downloaded or prepared by TensorFlow Datasets lies in `--data_dir`, by
  default `~/tensorflow_datasets`. `python -m official.data.array_file` keeps a small
  set as one file of arrays, which is read without TensorFlow.
- `python -m official.data.check --dataset=NAME --data_dir=FOLDER` reads all images and
  lists those that cannot be read; while streaming, a training finds one only when its
  batch comes. `--dry_run` counts the files that are there.
- Sets of up to 2 GiB are decoded once and kept in memory; others are read and decoded
  while training. The order of the images follows from the seed and the epoch in both.
"""


def page() -> str:
    """Returns the page, as Markdown."""
    return "".join(
        [
            *(_INTRODUCTION, _NETWORKS, networks_table(), _MORE_NETWORKS),
            *(_DATA, data_table(), _MORE_DATA),
        ]
    )


def networks_table() -> str:
    """Returns the table of networks, with their sizes as published and as built."""
    return _table(
        ("name", "parameters", "published", "source", "input", "classes"),
        (_network_row(name, size) for name, size in SIZES.items()),
    )


def data_table() -> str:
    """Returns the table of data sets."""
    return _table(
        ("name", "data set", "images", "input", "classes", "how to get it", "licence"),
        (_data_row(description) for description in KNOWN.values()),
    )


def _network_row(name: str, size: Size) -> tuple[str, ...]:
    return (
        f"`{name}`",
        f"{size.parameters:,}",
        size.published or "-",
        size.source,
        _shape(size.input_shape),
        str(size.classes),
    )


def _data_row(description: Description) -> tuple[str, ...]:
    about = "" if description.is_exact else "about "
    return (
        f"`{description.name}`",
        description.title,
        f"{about}{description.train_size:,} + {description.test_size:,}",
        _shape(description.input_shape),
        f"{description.classes:,}",
        description.source,
        description.terms,
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")

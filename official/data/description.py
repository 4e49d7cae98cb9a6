"""What is known of a data set without loading it, and those with a name of their own."""

import dataclasses

from official.data import splits


@dataclasses.dataclass(frozen=True)
class Description:
    """The size of a data set, and where it comes from.

    Of its training images those that are held out for validation are no part. `terms` is
    what its licence allows, in a few words; unless `is_exact`, sizes are a guess until
    the images are there.
    """

    name: str
    title: str
    train_size: int
    test_size: int
    input_shape: tuple[int, int, int]
    classes: int
    source: str = ""
    terms: str = ""
    validation_size: int = 0
    is_exact: bool = True

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches; raises `ValueError` if there is not one."""
        return splits.steps_per_epoch(self.name, self.train_size, batch_size)

    def of_size(self, train_size: int, test_size: int) -> "Description":
        """The same set with what is really there of it."""
        return dataclasses.replace(
            self, train_size=train_size, test_size=test_size, is_exact=True
        )

    def shown_as(self, side: int) -> "Description":
        """The same set, its images shown as squares with so many pixels a side."""
        return dataclasses.replace(self, input_shape=(side, side, self.input_shape[-1]))

    def used(
        self, train_examples: int | None, validation_fraction: float
    ) -> "Description":
        """Returns the set as `official.data.load` would load it; raises as it does."""
        splits.require_images(self.name, "test", self.test_size)
        train, validation = splits.training_sizes(
            self.name, self.train_size, train_examples, validation_fraction
        )
        return dataclasses.replace(self, train_size=train, validation_size=validation)


# How to get a set, and what its licence allows
_BY_TFDS = "downloaded by TensorFlow Datasets at first use"
_DIGITS = ("comes with scikit-learn", "CC BY 4.0 (UCI, Alpaydin and Kaynak)")
_MNIST = (_BY_TFDS, "CC BY-SA 3.0 (LeCun and Cortes)")
_FASHION = (_BY_TFDS, "MIT (Zalando)")
_CIFAR = (_BY_TFDS, "none stated; cite Krizhevsky (2009)")
_TINY = (
    "unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip, "
    "name the folder with `--data_dir`",
    "ImageNet's",
)
_IMAGENET = (
    "register at https://image-net.org; `--data_dir` names a folder with "
    "`train/` and `val/`, a folder per class in each, or one with TensorFlow "
    "Datasets' `imagenet2012`",
    "research and education only, no commercial use",
)
_IMAGENET200 = ("as `imagenet`; every fifth class in the order of WordNet ids", _TINY[1])
_GREY, _COLOUR, _LARGE = (32, 32, 1), (32, 32, 3), (224, 224, 3)

_DESCRIPTIONS = (
    Description("digits", "scikit-learn's digits", 1_347, 450, (8, 8, 1), 10, *_DIGITS),
    Description("mnist", "MNIST", 60_000, 10_000, _GREY, 10, *_MNIST),
    Description("fashion_mnist", "Fashion-MNIST", 60_000, 10_000, _GREY, 10, *_FASHION),
    Description("cifar10", "CIFAR-10", 50_000, 10_000, _COLOUR, 10, *_CIFAR),
    Description("cifar100", "CIFAR-100", 50_000, 10_000, _COLOUR, 100, *_CIFAR),
    Description(
        "tiny_imagenet", "Tiny-ImageNet", 100_000, 10_000, (64, 64, 3), 200, *_TINY
    ),
    Description(
        *("imagenet", "ImageNet (ILSVRC 2012)", 1_281_167, 50_000, _LARGE, 1_000),
        *_IMAGENET,
    ),
    Description(
        *("imagenet200", "ImageNet, 200 classes", 256_233, 10_000, _LARGE, 200),
        *_IMAGENET200,
        is_exact=False,
    ),
)
KNOWN = {description.name: description for description in _DESCRIPTIONS}


def check_known(name: str, input_shape: tuple[int, ...], classes: int) -> None:
    """Raises `ValueError` if a set with a name of its own has other images or classes."""
    known = KNOWN.get(name)
    if known and (known.classes, known.input_shape) != (classes, input_shape):
        raise ValueError(
            f"--dataset={name} must be {known.classes} classes of "
            f"{shape_text(known.input_shape)} images. Received in --data_dir: {classes} "
            f"classes of {shape_text(input_shape)}. Others are named "
            "--dataset=folder:PATH"
        )


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it: `32x32x3`."""
    return "x".join(map(str, shape))

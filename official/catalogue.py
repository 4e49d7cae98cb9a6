"""Tables of the networks and the data sets, as they stand in the documentation.

    python -m official.catalogue

prints them for `docs/networks_and_data.md` and `README.md`.
"""

import dataclasses
from collections.abc import Iterable

from official.data.description import KNOWN, Description, shape_text

_CIFAR = (32, 32, 3)
_GREY = (32, 32, 1)
_IMAGENET = (224, 224, 3)
_HE = "He et al. (2016), table 6"
_VGG = "convolutions of Simonyan and Zisserman (2015), configuration {}"
_WIDE = "Zagoruyko and Komodakis (2016), table 4"
_TORCHVISION = "torchvision's documentation"


@dataclasses.dataclass(frozen=True)
class Size:
    """How many parameters a network has, and how many its publication says it has.

    Attributes:
        parameters: trainable ones, as the network is built here.
        published: what the publication says, as it says it; empty if it doesn't.
        source: the publication.
        input_shape: height, width and channels for which the numbers hold.
        classes: number of classes for which they hold.
    """

    parameters: int
    published: str
    source: str
    input_shape: tuple[int, int, int] = _CIFAR
    classes: int = 10


SIZES = {
    "quickstart_cnn": Size(24_058, "", "of this project", (8, 8, 1)),
    "lenet_300_100": Size(
        266_610, "266K", "Frankle and Carbin (2019), figure 2", (28, 28, 1)
    ),
    "lenet5": Size(61_706, "60,000", "LeCun et al. (1998), section II.B", _GREY),
    "mlp": Size(154_010, "", "7 layers of width 100, Lee et al. (2020)", _GREY),
    "mlp_linear": Size(154_010, "", "7 layers of width 100, Lee et al. (2020)", _GREY),
    "resnet20": Size(269_722, "0.27M", _HE),
    "resnet32": Size(464_154, "0.46M", _HE),
    "resnet44": Size(658_586, "0.66M", _HE),
    "resnet56": Size(853_018, "0.85M", _HE),
    "resnet110": Size(1_727_962, "1.7M", _HE),
    "vgg11": Size(9_225_610, "9.2M", _VGG.format("A")),
    "vgg11_bn": Size(9_228_362, "9.2M", _VGG.format("A")),
    "vgg13": Size(9_410_122, "9.4M", _VGG.format("B")),
    "vgg13_bn": Size(9_413_066, "9.4M", _VGG.format("B")),
    "vgg16": Size(14_719_818, "14.7M", _VGG.format("D")),
    "vgg16_bn": Size(14_724_042, "14.7M", _VGG.format("D")),
    "vgg19": Size(20_029_514, "20.0M", _VGG.format("E")),
    "vgg19_bn": Size(20_035_018, "20.04M", "Liu et al. (2017), table 1"),
    "wrn-16-8": Size(10_961_370, "11.0M", _WIDE),
    "wrn-28-10": Size(36_479_194, "36.5M", _WIDE),
    "wrn-40-1": Size(563_930, "0.6M", _WIDE),
    "wrn-40-4": Size(8_949_210, "8.9M", _WIDE),
    "resnet18": Size(11_689_512, "11,689,512", _TORCHVISION, _IMAGENET, 1000),
    "resnet34": Size(21_797_672, "21,797,672", _TORCHVISION, _IMAGENET, 1000),
    "resnet50": Size(25_557_032, "25,557,032", _TORCHVISION, _IMAGENET, 1000),
    "mobilenetv2": Size(3_504_872, "3,504,872", _TORCHVISION, _IMAGENET, 1000),
}


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
        shape_text(size.input_shape),
        str(size.classes),
    )


def _data_row(description: Description) -> tuple[str, ...]:
    about = "" if description.is_exact else "about "
    return (
        f"`{description.name}`",
        description.title,
        f"{about}{description.train_size:,} + {description.test_size:,}",
        shape_text(description.input_shape),
        f"{description.classes:,}",
        description.source,
        description.terms,
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(networks_table() + data_table(), end="")

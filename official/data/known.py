"""The data sets that have a name of their own."""

from collections.abc import Sequence

from official.data.description import Description

_THROUGH_TFDS = "downloaded by TensorFlow Datasets at first use"

KNOWN = {
    description.name: description
    for description in (
        Description(
            name="digits",
            title="scikit-learn's digits",
            train_size=1_347,
            test_size=450,
            input_shape=(8, 8, 1),
            classes=10,
            source="comes with scikit-learn",
            terms="CC BY 4.0 (UCI, Alpaydin and Kaynak)",
        ),
        Description(
            name="mnist",
            title="MNIST",
            train_size=60_000,
            test_size=10_000,
            input_shape=(32, 32, 1),
            classes=10,
            source=_THROUGH_TFDS,
            terms="CC BY-SA 3.0 (LeCun and Cortes)",
        ),
        Description(
            name="fashion_mnist",
            title="Fashion-MNIST",
            train_size=60_000,
            test_size=10_000,
            input_shape=(32, 32, 1),
            classes=10,
            source=_THROUGH_TFDS,
            terms="MIT (Zalando)",
        ),
        Description(
            name="cifar10",
            title="CIFAR-10",
            train_size=50_000,
            test_size=10_000,
            input_shape=(32, 32, 3),
            classes=10,
            source=_THROUGH_TFDS,
            terms="none stated; cite Krizhevsky (2009)",
        ),
        Description(
            name="cifar100",
            title="CIFAR-100",
            train_size=50_000,
            test_size=10_000,
            input_shape=(32, 32, 3),
            classes=100,
            source=_THROUGH_TFDS,
            terms="none stated; cite Krizhevsky (2009)",
        ),
        Description(
            name="tiny_imagenet",
            title="Tiny-ImageNet",
            train_size=100_000,
            test_size=10_000,
            input_shape=(64, 64, 3),
            classes=200,
            source="unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip, "
            "name the folder with `--data_dir`",
            terms="ImageNet's",
        ),
        Description(
            name="imagenet",
            title="ImageNet (ILSVRC 2012)",
            train_size=1_281_167,
            test_size=50_000,
            input_shape=(224, 224, 3),
            classes=1_000,
            source="register at https://image-net.org; `--data_dir` names a folder with "
            "`train/` and `val/`, a folder per class in each, or one with TensorFlow "
            "Datasets' `imagenet2012`",
            terms="research and education only, no commercial use",
        ),
        Description(
            name="imagenet200",
            title="ImageNet, 200 classes",
            train_size=256_233,
            test_size=10_000,
            input_shape=(224, 224, 3),
            classes=200,
            source="as `imagenet`; every fifth class in the order of WordNet ids",
            terms="ImageNet's",
            is_exact=False,
        ),
    )
}


def check_known(name: str, input_shape: Sequence[int], classes: int) -> None:
    """Raises `ValueError` if a set with a name of its own has other images or classes."""
    known = KNOWN.get(name)
    expected = known and (known.classes, known.input_shape)
    if expected not in (None, (classes, tuple(input_shape))):
        raise ValueError(
            f"--dataset={name} must be {known.classes} classes of "
            f"{_shape(known.input_shape)} images. Received in --data_dir: {classes} "
            f"classes of {_shape(input_shape)}. Others are named --dataset=folder:PATH"
        )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))

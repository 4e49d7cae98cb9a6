import pytest

from official.common import choose


def test_returns_a_name_that_exists():
    assert choose("network", "mlp", ("mlp", "resnet20")) == "mlp"


def test_suggests_the_nearest_name_and_lists_all():
    with pytest.raises(ValueError) as error:
        choose("network", "resnet2", ("mlp", "resnet20", "resnet32"))
    assert str(error.value) == (
        "Unknown network 'resnet2'. Did you mean 'resnet20'? "
        "Available: mlp, resnet20, resnet32."
    )


def test_suggests_nothing_when_nothing_is_near():
    with pytest.raises(ValueError) as error:
        choose("dataset", "xyz", (name for name in ("digits", "cifar10")))
    assert str(error.value) == "Unknown dataset 'xyz'. Available: digits, cifar10."

import subprocess
import sys

import pytest

from official.data import DATASETS, check_name, describe, load


def test_every_named_set_is_described_without_being_there():
    named = [name for name in DATASETS if name.islower()]
    assert len(named) == 8
    for name in named:
        told = describe(name)
        assert told.name == name
        assert min(told.train_size, told.test_size, told.classes) > 0
        assert told.source and told.terms


@pytest.mark.parametrize(
    "arguments",
    [{}, {"train_examples": 1001}, {"validation_fraction": 0.13}, {"image_size": 12}],
)
def test_the_description_of_the_digits_is_what_loading_gives(arguments):
    data, told = (of("digits", **arguments) for of in (load, describe))
    assert told.train_size == data.train_size
    assert told.validation_size == data.split_size("validation")
    assert told.test_size == data.split_size("test")
    assert told.input_shape == data.input_shape
    assert told.classes == len(data.class_names)


def test_steps_of_the_papers_recipes():
    assert describe("cifar10").steps_per_epoch(128) == 390
    assert describe("imagenet").steps_per_epoch(256) == 5004


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar11"}, "Did you mean 'cifar10'"),
        ({"name": "mnist", "train_examples": 60_001}, "from 1 to the 60000 training"),
        ({"name": "mnist", "validation_fraction": 1.0}, "`validation_fraction` must"),
        ({"name": "mnist", "validation_fraction": 1e-6}, "hold out some of the 60000 tr"),
        ({"name": "mnist", "image_size": 0}, "`image_size` must be at least 1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        describe(**arguments)


@pytest.mark.parametrize("name", ["digits", "tfds:beans", "folder:~/birds"])
def test_check_name_knows_how_names_are_written(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["tfds:", "folder:", "digit"])
def test_check_name_refuses_others(name):
    with pytest.raises(ValueError, match="Unknown dataset"):
        check_name(name)


def test_describing_costs_neither_keras_nor_tensorflow():
    code = (
        "import sys; from official.data import describe; describe('imagenet'); "
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

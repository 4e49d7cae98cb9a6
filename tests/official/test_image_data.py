import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from official.data import Augmentation, Normalization, load
from official.data.image_data import image_data
from official.data.images import DecodedImages, ImageSet
from official.data.presentation import small
from official.data.splits import validation_mask


def numbered(count=50, *, test=7, augmentation=None, **arguments):
    """Images whose pixels are all their own number, of four classes."""
    images = np.broadcast_to(
        np.arange(count + test, dtype=np.uint8)[:, None, None, None],
        (count + test, 6, 5, 3),
    )
    labels = np.arange(count + test) % 4
    train = DecodedImages(images[:count], labels[:count])
    tested = DecodedImages(images[count:], labels[count:])
    shown = dataclasses.replace(
        small((6, 5)),
        normalization=Normalization(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
        augmentation=augmentation or Augmentation(),
    )
    image_set = ImageSet(train, tested, ("a", "b", "c", "d"))
    return image_data("numbered", image_set, shown, **arguments)


def take(batches, count):
    return list(itertools.islice(batches, count))


def numbers(batches):
    return [images[:, 0, 0, 0].astype(int).tolist() for images, _ in batches]


def every_number(batches):
    return np.concatenate(numbers(batches)).tolist()


def assert_same_bits(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        for array, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, same)


def test_batches_have_the_promised_types_and_shapes():
    images, labels = next(iter(numbered().train_batches(8, seed=0)))
    assert (images.shape, images.dtype) == ((8, 6, 5, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((8,), np.int32)


def test_labels_stay_with_their_images():
    for images, labels in take(numbered().train_batches(8, seed=0), 20):
        np.testing.assert_array_equal(images[:, 0, 0, 0] % 4, labels)


def test_an_epoch_visits_each_image_at_most_once_and_drops_the_rest():
    data = numbered(50)
    steps = data.steps_per_epoch(8)
    assert steps == 6
    seen = every_number(take(data.train_batches(8, seed=0), steps))
    assert len(set(seen)) == len(seen) == 48


def test_epochs_and_seeds_have_different_orders():
    data = numbered(48)
    first = numbers(take(data.train_batches(8, seed=0), 12))
    other_seed = numbers(take(data.train_batches(8, seed=1), 6))
    assert first[:6] != first[6:]
    assert first[:6] != other_seed


@pytest.mark.parametrize("first_step", [1, 5, 6, 7, 17])
def test_resuming_at_a_step_gives_the_same_bits(first_step):
    data = numbered(augmentation=Augmentation(pad=2, flip=True))
    whole = take(data.train_batches(8, seed=3), first_step + 9)
    rest = take(data.train_batches(8, seed=3, first_step=first_step), 9)
    assert_same_bits(rest, whole[first_step:])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_the_batches_of_a_single_one(workers):
    data = numbered(augmentation=Augmentation(pad=2, flip=True))
    whole = take(data.train_batches(8, seed=3, first_step=4), 5)
    shards = [
        take(data.train_batches(8, seed=3, first_step=4, shard=(index, workers)), 5)
        for index in range(workers)
    ]
    joined = [
        tuple(map(np.concatenate, zip(*parts, strict=True)))
        for parts in zip(*shards, strict=True)
    ]
    assert_same_bits(joined, whole)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((2, 2), "`shard` must be .* Received: shard=.2, 2."),
        ((0, 3), "multiple of the 3"),
    ],
)
def test_a_shard_that_is_none_is_refused(shard, message):
    with pytest.raises(ValueError, match=message):
        numbered().train_batches(8, seed=0, shard=shard)


def test_iterating_again_starts_again():
    batches = numbered().train_batches(8, seed=0, first_step=4)
    assert_same_bits(take(batches, 3), take(batches, 3))


def test_order_is_that_of_every_machine():
    batches = numbers(take(numbered(10).train_batches(5, seed=0), 2))
    assert batches == [[0, 8, 9, 3, 7], [5, 1, 2, 6, 4]]


def test_crop_and_flip_make_every_variant_of_an_image():
    image = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3, 1)
    bits = np.random.Philox(0).random_raw(2000)
    results = Augmentation(pad=1, flip=True)(np.repeat(image, 2000, axis=0), bits)
    padded = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))
    crops = [padded[t : t + 2, left : left + 3] for t in range(3) for left in range(3)]
    variants = {crop.tobytes() for crop in crops} | {
        np.ascontiguousarray(crop[:, ::-1]).tobytes() for crop in crops
    }
    found = [result.tobytes() for result in results]
    assert set(found) == variants
    share = np.array([found.count(variant) for variant in variants]) / 2000
    assert share.min() > 0.5 / len(variants)


def test_augmentation_leaves_its_input_alone():
    images = np.random.default_rng(0).integers(0, 9, (8, 4, 4, 1), np.uint8)
    before = images.copy()
    Augmentation(flip=True)(images, np.random.Philox(0).random_raw(8))
    np.testing.assert_array_equal(images, before)


def test_padding_is_black_before_normalization():
    data = numbered(augmentation=Augmentation(pad=30))
    object.__setattr__(
        data, "normalization", Normalization(scale=2.0, mean=(1.0,) * 3, std=(4.0,) * 3)
    )
    images = np.concatenate([x for x, _ in take(data.train_batches(8, seed=0), 6)])
    assert images.min() == (0 / 2 - 1) / 4


def test_normalization_is_channel_by_channel():
    pixels = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3).repeat(2, axis=2)
    normalised = Normalization(10.0, (1.0, 1.0, 1.0), (1.0, 2.0, 4.0))(pixels)
    np.testing.assert_array_equal(normalised, [[[[0.0, 0.5, 0.5]] * 2]])
    assert normalised.dtype == np.float32


def test_evaluation_is_complete_in_order_and_not_augmented():
    data = numbered(test=7, augmentation=Augmentation(pad=2, flip=True))
    batches = list(data.evaluation_batches("test", 3))
    assert numbers(batches) == [[50, 51, 52], [53, 54, 55], [56]]
    assert all(np.ptp(images, axis=(1, 2, 3)).max() == 0 for images, _ in batches)
    assert data.split_size("test") == 7


def test_validation_is_held_out_of_training_evenly_by_class():
    data = numbered(48, validation_fraction=0.25)
    held_out = every_number(data.evaluation_batches("validation", 5))
    trained = every_number(take(data.train_batches(1, seed=0), data.train_size))
    assert data.split_size("validation") == len(held_out) == 12
    assert sorted(held_out + trained) == list(range(48))
    assert np.bincount(np.array(held_out) % 4).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.77])
def test_as_many_are_held_out_as_the_fraction_says(fraction):
    labels = np.repeat([0, 1, 2], [5, 31, 14])
    mask = validation_mask(labels, fraction)
    assert mask.sum() == round(50 * fraction)
    shares = np.bincount(labels[mask], minlength=3) - fraction * np.array([5, 31, 14])
    assert np.abs(shares).max() < 1


def test_train_examples_are_the_first_in_stored_order():
    data = numbered(48, train_examples=20, validation_fraction=0.2)
    held_out = every_number(data.evaluation_batches("validation", 5))
    trained = every_number(take(data.train_batches(1, seed=0), data.train_size))
    assert sorted(held_out + trained) == list(range(20))


def test_a_validation_split_without_images_is_refused():
    with pytest.raises(ValueError, match="validation split of 'numbered' holds no"):
        numbered().evaluation_batches("validation", 4)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"Unknown split 'tests'. Did you mean 'test'"):
        numbered().evaluation_batches("tests", 4)


@pytest.mark.parametrize(
    ("argument", "value"), [("batch_size", 0), ("batch_size", 51), ("seed", -1)]
)
def test_a_batch_argument_out_of_range_is_named(argument, value):
    arguments = {"batch_size": 8, "seed": 0} | {argument: value}
    with pytest.raises(ValueError, match=f"^`{argument}` must .*={value}$"):
        numbered().train_batches(**arguments)


def test_digits_are_sklearns_divided_by_16():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert data.input_shape == (8, 8, 1)
    assert data.class_names == tuple("0123456789")
    assert data.train_size + data.split_size("test") == 1797
    assert 440 <= data.split_size("test") <= 460
    train = np.concatenate([x for x, _ in take(data.train_batches(1, seed=0), 1347)])
    test = np.concatenate([x for x, _ in data.evaluation_batches("test", 100)])
    ours = np.sort(np.concatenate([train, test]).reshape(1797, 64), axis=0)
    np.testing.assert_array_equal(ours, np.sort(load_digits().data / 16, axis=0))


def test_digits_test_images_are_the_same_whatever_is_asked_of_training():
    one, other = (
        list(load("digits", **arguments).evaluation_batches("test", 500))
        for arguments in ({}, {"train_examples": 100, "validation_fraction": 0.3})
    )
    assert_same_bits(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "digit"}, "Unknown dataset 'digit'. Did you mean 'digits'"),
        ({"name": "digits", "train_examples": 0}, "`train_examples` must be at least"),
        ({"name": "digits", "train_examples": 9999}, "must be from 1 to the 1347 train"),
        ({"name": "digits", "validation_fraction": 1.0}, "`validation_fraction` must"),
    ],
)
def test_bad_input_to_load_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_digits_cost_neither_keras_nor_tensorflow():
    code = (
        "import sys; from official.data import load; load('digits'); "
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

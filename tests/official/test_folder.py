"""Folders of images: small ones are decoded once, large ones stream."""

import itertools

import numpy as np
import pytest
from PIL import Image

from official.data import Augmentation, describe, load, presentation
from official.data.images import DecodedImages, EncodedImages
from tests.official.prepared import (
    random_images,
    tiny_imagenet,
    write_classes,
    write_images,
)


def take(batches, count):
    return list(itertools.islice(batches, count))


def assert_same_bits(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        for array, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, same)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    write_classes(root / "train", {"a": 7, "b": 5}, 32, 32, 3)
    write_classes(root / "test", {"a": 2, "b": 1}, 32, 32, 3)
    return root


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    root = tmp_path_factory.mktemp("large")
    for split, count in (("train", 6), ("val", 2)):
        for name, shape in (("a", (240, 300, 3)), ("b", (300, 250, 3))):
            write_images(root / split / name, random_images(count, *shape), suffix="jpg")
    return root


def test_small_images_are_decoded_once(small):
    data = load(f"folder:{small}")
    assert isinstance(data.train, DecodedImages)
    assert data.input_shape == (32, 32, 3)
    assert data.augmentation == Augmentation(pad=4, flip=True)
    ((images, labels),) = data.evaluation_batches("test", 10)
    expected = np.asarray(Image.open(small / "test" / "b" / "000.png")) / 255
    expected = (expected - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(images[2], expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [0, 0, 1]


def test_small_images_that_do_not_fit_stream_the_same_batches(small, monkeypatch):
    arguments = {"train_examples": 10, "validation_fraction": 0.2}
    decoded = load(f"folder:{small}", **arguments)
    monkeypatch.setattr(presentation, "MOST_BYTES_IN_MEMORY", 1000)
    streamed = load(f"folder:{small}", **arguments)
    assert isinstance(streamed.train, EncodedImages)
    assert streamed.train_size == decoded.train_size == 8
    for batches in (
        lambda data: take(data.train_batches(3, seed=1), 7),
        lambda data: list(data.evaluation_batches("test", 2)),
        lambda data: list(data.evaluation_batches("validation", 2)),
    ):
        assert_same_bits(batches(streamed), batches(decoded))


def test_large_images_stream_as_those_of_imagenet(large):
    data = load(f"folder:{large}")
    assert isinstance(data.train, EncodedImages)
    assert data.input_shape == (224, 224, 3)
    images, labels = next(iter(data.train_batches(5, seed=0)))
    assert (images.shape, images.dtype) == ((5, 224, 224, 3), np.float32)
    assert labels.dtype == np.int32
    ((images, labels),) = data.evaluation_batches("test", 10)
    picture = Image.open(large / "val" / "b" / "000.jpg").resize((256, 307), 2)
    pixels = np.asarray(picture.crop((16, 42, 240, 266)))
    expected = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(images[2], expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("first_step", [1, 2, 5])
def test_streaming_resumes_at_any_step_with_the_same_bits(large, first_step):
    data = load(f"folder:{large}")
    whole = take(data.train_batches(5, seed=3), first_step + 3)
    rest = take(data.train_batches(5, seed=3, first_step=first_step), 3)
    assert_same_bits(rest, whole[first_step:])


def test_workers_share_what_streams(large):
    data = load(f"folder:{large}")
    whole = take(data.train_batches(4, seed=0), 3)
    shards = [take(data.train_batches(4, seed=0, shard=(i, 2)), 3) for i in (0, 1)]
    joined = [
        tuple(map(np.concatenate, zip(*parts, strict=True)))
        for parts in zip(*shards, strict=True)
    ]
    assert_same_bits(joined, whole)


def test_half_of_the_crops_are_mirrored(tmp_path):
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[..., 0] = np.arange(100)
    for split in ("train", "test"):
        for name in "ab":
            write_images(tmp_path / split / name, [picture] * 20)
    data = load(f"folder:{tmp_path}")
    images = np.concatenate([x for x, _ in take(data.train_batches(8, seed=0), 5)])
    slopes = images[:, :, -1, 0].mean(axis=1) - images[:, :, 0, 0].mean(axis=1)
    assert 10 <= (slopes > 0).sum() <= 30


def test_a_description_is_what_loading_finds(small, large):
    for root in (small, large):
        arguments = {"train_examples": 9, "validation_fraction": 0.25}
        data, told = (of(f"folder:{root}", **arguments) for of in (load, describe))
        assert told.train_size == data.train_size
        assert told.validation_size == data.split_size("validation")
        assert told.test_size == data.split_size("test")
        assert told.input_shape == data.input_shape
        assert told.classes == len(data.class_names)
        assert told.steps_per_epoch(2) == data.steps_per_epoch(2)


def test_a_file_that_is_no_image_is_named(small, tmp_path):
    write_classes(tmp_path, {"a": 5, "b": 5}, 300, 300, 3)
    for path in tmp_path.glob("a/00[1-4].png"):
        path.write_bytes(b"not an image")
    data = load(f"folder:{tmp_path}")
    with pytest.raises(OSError, match=r"/a/00\d.png is no image"):
        take(data.train_batches(8, seed=0), 1)


def test_a_small_image_of_another_size_is_named(tmp_path):
    write_classes(tmp_path, {"a": 5}, 32, 32, 3)
    write_images(
        tmp_path / "b", [*random_images(4, 32, 32, 3), random_images(1, 9, 8, 3)[0]]
    )
    with pytest.raises(OSError, match=r"/b/004.png: .* 32x32. Received: 9x8"):
        load(f"folder:{tmp_path}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_imagenet(tmp_path_factory.mktemp("above") / "tiny-imagenet-200")


def test_tiny_imagenet_lies_where_data_dir_says(tiny):
    data = load("tiny_imagenet", data_dir=str(tiny))
    told = describe("tiny_imagenet", data_dir=str(tiny))
    assert (data.train_size, told.train_size) == (400, 400)
    assert (data.split_size("test"), told.test_size) == (3, 3)
    with pytest.raises(FileNotFoundError, match=r"--data_dir.*tiny-imagenet-200.zip"):
        load("tiny_imagenet")


@pytest.mark.parametrize("act", [load, describe])
@pytest.mark.parametrize("name", ["tiny_imagenet", "imagenet", "folder:PATH"])
def test_one_folder_too_high_names_the_one_below(tiny, no_network, act, name):
    (tiny.parent / "another").mkdir(exist_ok=True)
    above = str(tiny.parent)
    with pytest.raises(FileNotFoundError, match=f"Did you mean {tiny}[?]$"):
        act(name.replace("PATH", above), data_dir=above)


@pytest.mark.parametrize("act", [load, describe])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagenet", "be 1000 classes of 224x224x3 .*: 200 classes"),
        ("imagenet200", "be 200 classes of 224x224x3 .*: 40 classes"),
    ],
)
def test_a_set_by_the_name_of_another_is_refused(tiny, act, name, words):
    with pytest.raises(ValueError, match=f"--dataset={name} must {words}"):
        act(name, data_dir=str(tiny))


@pytest.mark.parametrize("act", [load, describe])
def test_what_is_not_tiny_imagenet_is_refused(small, act):
    message = r"200 classes of 64x64x3 .*: 2 classes of 32x32x3\. .*folder:PATH"
    with pytest.raises(ValueError, match=message):
        act("tiny_imagenet", data_dir=str(small))
    with pytest.raises(FileNotFoundError, match=r"No folder .*nowhere"):
        act("tiny_imagenet", data_dir=str(small / "nowhere"))


@pytest.mark.parametrize("act", [load, describe])
def test_too_few_images_to_test_on_are_refused(tmp_path, act):
    write_classes(tmp_path, {"a": 2, "b": 2}, 8, 8, 3)
    with pytest.raises(FileNotFoundError, match=r"No test images in .*three images each"):
        act(f"folder:{tmp_path}")

from pathlib import Path

import numpy as np
import pytest

from official.data.folders import find_images
from tests.official.prepared import random_images, write_classes, write_images


def names(images, root):
    """Path below `root` and label of each image."""
    paths = [Path(images.files[file]) for file in images.file]
    return [
        (path.relative_to(root).as_posix(), label)
        for path, label in zip(paths, images.labels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_a_folder_per_class_and_split(tmp_path, test):
    write_classes(tmp_path / "train", {"cat": 3, "ant": 1}, 4, 4, 3)
    write_classes(tmp_path / test, {"ant": 1, "cat": 2}, 4, 4, 3)
    folders = find_images(tmp_path)
    assert folders.class_names == ("ant", "cat")
    assert names(folders.train, tmp_path) == [
        ("train/ant/000.png", 0),
        ("train/cat/000.png", 1),
        ("train/cat/001.png", 1),
        ("train/cat/002.png", 1),
    ]
    assert names(folders.test, tmp_path) == [
        (f"{test}/ant/000.png", 0),
        (f"{test}/cat/000.png", 1),
        (f"{test}/cat/001.png", 1),
    ]


def test_the_first_training_images_are_of_all_classes(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 3, "c": 1}, 4, 4, 3)
    write_classes(tmp_path / "test", {"a": 1}, 4, 4, 3)
    assert find_images(tmp_path).train.labels.tolist() == [0, 1, 2, 0, 1, 1]


def test_the_layout_of_tiny_imagenet(tmp_path):
    for name in ("n01443537", "n01629819"):
        write_images(tmp_path / "train" / name / "images", random_images(2, 8, 8, 3))
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text("0\t1\t2\t3\t4\n")
    write_images(tmp_path / "val" / "images", random_images(3, 8, 8, 3))
    write_images(tmp_path / "test" / "images", random_images(3, 8, 8, 3))
    labels = ("n01629819", "n01443537", "n01629819")
    (tmp_path / "val" / "val_annotations.txt").write_text(
        "".join(f"{n:03}.png\t{label}\t0\t0\t8\t8\n" for n, label in enumerate(labels))
    )
    folders = find_images(tmp_path)
    assert folders.class_names == ("n01443537", "n01629819")
    assert folders.train.labels.tolist() == [0, 1, 0, 1]
    assert names(folders.test, tmp_path) == [
        ("val/images/001.png", 0),
        ("val/images/000.png", 1),
        ("val/images/002.png", 1),
    ]


def test_classes_alone_are_parted_the_same_way_each_time(tmp_path):
    write_classes(tmp_path, {"a": 10, "b": 6}, 4, 4, 3)
    first, second = find_images(tmp_path), find_images(tmp_path)
    assert np.bincount(first.test.labels).tolist() == [2, 1]
    assert np.bincount(first.train.labels).tolist() == [8, 5]
    assert names(first.test, tmp_path) == names(second.test, tmp_path)
    assert not set(names(first.test, tmp_path)) & set(names(first.train, tmp_path))


def test_every_second_class(tmp_path):
    for split in ("train", "val"):
        write_classes(tmp_path / split, dict.fromkeys("abcde", 1), 4, 4, 3)
    folders = find_images(tmp_path, every=2)
    assert folders.class_names == ("a", "c", "e")
    assert names(folders.test, tmp_path) == [
        (f"val/{name}/000.png", label) for label, name in enumerate("ace")
    ]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No folder .*nowhere"):
        find_images(tmp_path / "nowhere")


def test_a_folder_without_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No images in .* a folder per class"):
        find_images(tmp_path)


def test_a_class_without_images(tmp_path):
    write_classes(tmp_path, {"a": 3}, 4, 4, 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(FileNotFoundError, match=r"No images in .*b, a class.s folder"):
        find_images(tmp_path)


def test_training_images_alone(tmp_path):
    write_classes(tmp_path / "train", {"a": 3, "b": 3}, 4, 4, 3)
    with pytest.raises(FileNotFoundError, match=r"No test images in .* one of test, val"):
        find_images(tmp_path)


def test_a_test_class_that_is_not_trained(tmp_path):
    write_classes(tmp_path / "train", {"terrier": 1, "wolf": 1}, 4, 4, 3)
    write_classes(tmp_path / "test", {"terier": 1}, 4, 4, 3)
    with pytest.raises(ValueError, match=r"the class 'terier'.* Is it 'terrier'\?"):
        find_images(tmp_path)


@pytest.mark.parametrize("below", [".", "images"])
def test_test_images_without_classes_give_way_to_those_with(tmp_path, below):
    for split in ("train", "val"):
        write_classes(tmp_path / split, {"a": 2, "b": 2}, 4, 4, 3)
    write_images(tmp_path / "test" / below, random_images(3, 4, 4, 3))
    folders = find_images(tmp_path)
    assert {name.split("/")[0] for name, _ in names(folders.test, tmp_path)} == {"val"}


def test_test_images_without_classes_alone_are_refused(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 2}, 4, 4, 3)
    write_images(tmp_path / "val", random_images(3, 4, 4, 3))
    with pytest.raises(FileNotFoundError, match=r"No test images in .* folder per class"):
        find_images(tmp_path)


def test_one_class_is_refused_and_a_folder_below_it_named(tmp_path):
    write_classes(tmp_path / "birds", {"tit": 2, "owl": 2}, 4, 4, 3)
    with pytest.raises(ValueError, match=r"two classes .* Did you mean .*/birds\?$"):
        find_images(tmp_path)
    with pytest.raises(ValueError, match=r"two classes or more. Received: one, tit\.$"):
        (tmp_path / "birds" / "owl").rename(tmp_path / "owl")
        find_images(tmp_path / "birds")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("001.png\ta\n002.png\tb\n", "txt names .*/002.png, which is not there"),
        ("", "txt must name every image. It lacks .*/val/images/001.png"),
        ("001.png\n", "txt has the class '', which"),
    ],
)
def test_annotations_name_every_image(tmp_path, line, message):
    write_classes(tmp_path / "train", {"a": 2, "b": 2}, 4, 4, 3)
    write_images(tmp_path / "val" / "images", random_images(2, 4, 4, 3))
    (tmp_path / "val" / "val_annotations.txt").write_text(f"000.png\ta\n{line}")
    with pytest.raises((OSError, ValueError), match=message):
        find_images(tmp_path)

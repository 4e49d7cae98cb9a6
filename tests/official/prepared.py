"""Small data sets as TensorFlow Datasets keeps them, and folders of images."""

import json
import os
from pathlib import Path

import numpy as np


def random_images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def prepare(root: Path, name: str, version: str, splits: dict, classes: list[str]):
    """Writes a set whose splits are pairs of images and labels; returns its folder."""
    folder = root / name / version
    folder.mkdir(parents=True)
    info = {
        "name": name,
        "version": version,
        "fileFormat": "tfrecord",
        "splits": [
            _write_split(folder, name, split, *images) for split, images in splits.items()
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "label.labels.txt").write_text("\n".join(classes))
    return folder


def _write_split(folder: Path, name: str, split: str, images, labels) -> dict:
    import tensorflow as tf

    path = folder / f"{name}-{split}.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in zip(images, labels, strict=True):
            writer.write(example(tf.io.encode_png(image).numpy(), label))
    return {
        "name": split,
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "shardLengths": [str(len(images))],
        "numBytes": "0",
    }


def example(encoded: bytes, label: int) -> bytes:
    """A serialised `tf.train.Example` as TensorFlow Datasets writes it."""
    import tensorflow as tf

    train = tf.train
    features = {
        "id": train.Feature(bytes_list=train.BytesList(value=[b"an id"])),
        "file_name": train.Feature(bytes_list=train.BytesList(value=[b"0.JPEG"])),
        "image": train.Feature(bytes_list=train.BytesList(value=[encoded])),
        "label": train.Feature(int64_list=train.Int64List(value=[label])),
    }
    return train.Example(features=train.Features(feature=features)).SerializeToString()


def write_images(folder: Path, images, *, suffix: str = "png") -> list[Path]:
    """Writes images as files 0, 1, 2, ... of a folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.{suffix}" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.squeeze()).save(path)
    return paths


def write_alike(root: Path, classes: list[str], count: int, *shape: int) -> None:
    """Writes a folder per class, with links to one random image in each."""
    root.mkdir(parents=True)
    (image,) = write_images(root.parent / f"one-{root.name}", random_images(1, *shape))
    for name in classes:
        (root / name).mkdir()
        for number in range(count):
            os.link(image, root / name / f"{number:03}.png")


def tiny_imagenet(root: Path) -> Path:
    """Writes a set with the layout, the classes and the sides of Tiny-ImageNet."""
    classes = [f"n{number:08}" for number in range(200)]
    write_alike(root / "train", classes, 2, 64, 64, 3)
    write_images(root / "val" / "images", random_images(3, 64, 64, 3))
    (root / "val" / "val_annotations.txt").write_text(
        "".join(f"{n:03}.png\t{classes[n]}\t0\t0\t9\t9\n" for n in range(3))
    )
    write_images(root / "test" / "images", random_images(1, 64, 64, 3))
    return root


def write_classes(root: Path, sizes: dict[str, int], *shape: int) -> None:
    """Writes a folder per class, with so many random images in each."""
    for seed, (name, count) in enumerate(sizes.items()):
        write_images(root / name, random_images(count, *shape, seed=seed))

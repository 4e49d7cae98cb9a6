"""A short run of the program on each kind of data source."""

import pytest

from tests.official.prepared import prepare, random_images, tiny_imagenet, write_classes
from tests.program.conftest import results_in

SHORT = (
    "--method=scratch",
    "--epochs=1",
    "--train_examples=12",
    "--validation_fraction=0.25",
    "--batch_size=4",
    "--transform_batch_size=4",
)


def folder(root, *shape):
    for split, count in (("train", 6), ("test", 2)):
        write_classes(root / split, {"a": count, "b": count}, *shape)
    return f"--dataset=folder:{root}", 4


def small_folder(root):
    return folder(root, 16, 16, 3)


def large_folder(root):
    return folder(root, 230, 240, 3)


def decoded_tfds(root):
    images, labels = random_images(14, 28, 28, 1), [0, 1] * 7
    splits = {"train": (images, labels), "test": (images[:3], labels[:3])}
    prepare(root, "mnist", "3.0.1", splits, list("0123456789"))
    return "--dataset=tfds:mnist", 3


def streamed_tfds(root):
    images, labels = random_images(14, 100, 90, 3), [0, 1] * 7
    splits = {"train": (images, labels), "validation": (images[:5], labels[:5])}
    prepare(root, "imagenet2012", "5.1.0", splits, [])
    return "--dataset=imagenet", 5


@pytest.mark.parametrize(
    "source", [small_folder, large_folder, decoded_tfds, streamed_tfds]
)
def test_a_run_on_real_files(train, tmp_path, source):
    dataset, test_images = source(tmp_path / "data")
    arguments = (*SHORT, dataset, f"--data_dir={tmp_path}/data")
    outcome = train(*arguments, f"--output_dir={tmp_path}/runs")
    assert outcome.code == 0, outcome.err
    (result,) = results_in(tmp_path / "runs")
    assert result["test_accuracy"] * test_images == pytest.approx(
        round(result["test_accuracy"] * test_images)
    )
    assert result["train_images"] == 8  # of nine, as three are held out
    plan = train(*arguments, f"--output_dir={tmp_path}/other", "--dry_run")
    assert "Total: 8 images" in plan.out


def test_a_plan_counts_what_is_there(train, tmp_path):
    plan = ("--dry_run", *SHORT[:2], "--dataset=tiny_imagenet", "--batch_size=4")
    data_dir = tiny_imagenet(tmp_path / "data")
    there = ("--train_examples=400", f"--data_dir={data_dir}")
    outcome = train(*plan, *there, f"--output_dir={tmp_path}/runs")
    assert "Total: 400 images" in outcome.out
    more = ("--train_examples=401", f"--data_dir={data_dir}")
    for wrong, words in (
        (more, "the 400 training"),
        ([f"--data_dir={tmp_path}/x"], "/x"),
    ):
        outcome = train(*plan, *wrong, f"--output_dir={tmp_path}/runs")
        assert outcome.code == 2
        (line,) = outcome.err.splitlines()
        assert words in line


def test_a_file_that_is_no_image_ends_the_run_in_one_line(train, tmp_path):
    dataset, _ = large_folder(tmp_path / "data")
    for path in (tmp_path / "data" / "train").glob("a/00[1-5].png"):
        path.write_bytes(b"not an image")
    outcome = train(*SHORT, dataset, f"--output_dir={tmp_path}/runs")
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("Error: scratch-0.9-seed0: ")
    assert last.endswith(".png is no image")

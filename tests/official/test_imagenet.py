import pytest

from official.data import Augmentation, describe, load
from official.data.presentation import CentreCrop, RandomResizedCrop
from tests.official.prepared import prepare, random_images, write_alike

CLASSES = [f"n{number:08}" for number in range(1000)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    for split, count in (("train", 3), ("val", 1)):
        write_alike(root / split, CLASSES, count, 100, 120, 3)
    return str(root)


@pytest.mark.parametrize(
    ("name", "classes"), [("imagenet", CLASSES), ("imagenet200", CLASSES[::5])]
)
def test_folders_hold_imagenet_and_its_subset(folders, name, classes):
    data = load(name, data_dir=folders)
    assert data.class_names == tuple(classes)
    assert data.train_size == 3 * len(classes)
    images, labels = next(iter(data.evaluation_batches("test", 20)))
    assert images.shape == (20, 224, 224, 3)
    assert labels.tolist() == list(range(20))
    assert data.split_size("test") == len(classes)
    assert data.augmentation == Augmentation(flip=True)
    assert data.train_view == RandomResizedCrop(224)
    assert data.evaluation_view == CentreCrop(shorter_side=256, size=224)


@pytest.mark.parametrize(
    ("name", "labels", "last"),
    [("imagenet", [0, 1, 5, 999], "n15075141"), ("imagenet200", [0, 1], "n13044778")],
)
def test_tensorflow_datasets_copy_holds_them_too(
    tmp_path, no_network, name, labels, last
):
    pytest.importorskip("tensorflow_datasets")
    images = random_images(4, 100, 120, 3)
    splits = dict.fromkeys(("train", "validation"), (images, [0, 1, 5, 999]))
    prepare(tmp_path, "imagenet2012", "5.1.0", splits, [])
    data = load(name, data_dir=str(tmp_path))
    ((_, found),) = data.evaluation_batches("test", 10)
    assert found.tolist() == labels
    assert data.class_names[0] == "n01440764"
    assert data.class_names[-1] == last
    assert list(data.class_names) == sorted(data.class_names)


@pytest.mark.parametrize("name", ["imagenet", "imagenet200"])
def test_a_split_without_labels_is_refused_by_name(tmp_path, no_network, name):
    pytest.importorskip("tensorflow_datasets")
    images = random_images(3, 100, 120, 3)
    splits = {"train": (images, [0, 5, 10]), "validation": (images, [0, -1, -1])}
    prepare(tmp_path, "imagenet2012", "5.1.0", splits, [])
    message = f"labels of the test split of {name!r} must be 0 to .* Received: -1"
    with pytest.raises(ValueError, match=message):
        load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("act", [load, describe])
@pytest.mark.parametrize("name", ["imagenet", "imagenet200"])
def test_without_imagenet_one_line_says_how_to_get_it(tmp_path, no_network, name, act):
    with pytest.raises(
        FileNotFoundError, match=r"registration at https://image-net\.org"
    ) as e:
        act(name, data_dir=str(tmp_path))
    assert "\n" not in str(e.value)


def test_the_size_of_the_subset_is_a_guess_until_it_is_there(folders):
    guess = describe("imagenet200")
    assert (guess.train_size, guess.is_exact) == (256_233, False)
    found = describe("imagenet200", data_dir=folders)
    assert (found.train_size, found.test_size, found.is_exact) == (600, 200, True)


def test_what_is_there_is_counted(folders, tmp_path, no_network):
    pytest.importorskip("tensorflow_datasets")
    found = describe("imagenet", data_dir=folders)
    assert (found.train_size, found.test_size) == (3000, 1000)
    images = random_images(3, 100, 120, 3)
    splits = {"train": (images, [0, 1, 2]), "validation": (images[:2], [0, 1])}
    prepare(tmp_path, "imagenet2012", "5.1.0", splits, [])
    found = describe("imagenet", data_dir=str(tmp_path))
    assert (found.train_size, found.test_size) == (3, 2)

import numpy as np
import pytest

from official.data import describe, load
from tests.official.prepared import prepare, random_images

pytest.importorskip("tensorflow_datasets")

PIXELS = random_images(5, 28, 28, 1)


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.286, 0.353)]
)
def test_images_are_padded_with_black_to_1024_pixels(
    name, mean, std, tmp_path, no_network
):
    splits = {"train": (PIXELS[:3], range(3)), "test": (PIXELS[3:], range(2))}
    prepare(tmp_path, name, "3.0.1", splits, list("0123456789"))
    data = load(name, data_dir=str(tmp_path))
    ((images, _),) = data.evaluation_batches("test", 10)
    padded = np.pad(PIXELS[3:], ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_allclose(images, (padded / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    assert data.input_shape == describe(name).input_shape == (32, 32, 1)

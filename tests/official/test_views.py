import numpy as np
import pytest
from PIL import Image

from official.data.presentation import (
    CentreCrop,
    RandomResizedCrop,
    WholePicture,
    large,
    small,
)


def coordinates(height, width):
    """A picture whose red tells the row and whose green the column of a pixel."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.stack([rows, columns, 0 * rows], axis=-1))


def bits(count):
    return np.random.Philox(0).random_raw(count)


def test_centre_crop_takes_the_middle_of_the_resized_picture():
    view = CentreCrop(shorter_side=10, size=6)(coordinates(10, 20), 0)
    assert view.shape == (6, 6, 3)
    assert view[:, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert view[0, :, 1].tolist() == [7, 8, 9, 10, 11, 12]


def test_centre_crop_resizes_the_shorter_side_first():
    view = CentreCrop(shorter_side=8, size=8)(coordinates(64, 200), 0)
    np.testing.assert_allclose(view[:, 0, 0], np.arange(8) * 8 + 3.5, atol=3)


def test_random_crop_covers_8_to_100_percent_at_sensible_ratios():
    areas, ratios = [], []
    view = RandomResizedCrop(40)
    for chance in bits(300):
        red, green, _ = np.moveaxis(view(coordinates(200, 200), chance), -1, 0)
        height, width = (np.ptp(each.astype(int)) * 40 / 39 for each in (red, green))
        areas.append(height * width / 200**2)
        ratios.append(width / height)
    assert 0.06 < min(areas) < 0.2 and 0.8 < max(areas) <= 1.05
    assert 0.7 < min(ratios) < 0.85 and 1.2 < max(ratios) < 1.42


def test_random_crop_of_a_strip_is_its_middle():
    view = RandomResizedCrop(8)(coordinates(4, 200), 0)
    assert 96 < view[..., 1].mean() < 103


def test_random_crop_follows_from_its_bits():
    view, picture = RandomResizedCrop(8), coordinates(50, 60)
    first, again, other = (view(picture, chance) for chance in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_pictures_of_any_colours_become_rgb(mode):
    picture = coordinates(12, 12).convert(mode)
    for view in (WholePicture((12, 12)), RandomResizedCrop(12), CentreCrop(12, 12)):
        pixels = view(picture, 0)
        assert (pixels.shape, pixels.dtype) == ((12, 12, 3), np.uint8)


def test_grey_values_have_one_channel():
    assert WholePicture((12, 12), "L")(coordinates(12, 12), 0).shape == (12, 12, 1)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"12x12.* Received: 12x13"):
        WholePicture((12, 12))(coordinates(12, 13), 0)


def test_whole_pictures_are_augmented_as_they_are_and_resized_then():
    shown = small((4, 4)).of_size(8)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = [
        np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BILINEAR))
        for image in pixels
    ]
    assert shown.input_shape == (8, 8, 3)
    np.testing.assert_array_equal(
        shown.shown(pixels), shown.normalization(np.stack(expected))
    )


def test_grey_pictures_are_resized_too():
    pixels = np.full((1, 4, 4, 1), 51, np.uint8)
    found = small((4, 4), channels=1).of_size(6).shown(pixels)
    np.testing.assert_allclose(found, np.full((1, 6, 6, 1), -0.6), rtol=1e-6)


def test_parts_are_cut_out_of_large_pictures_in_the_size_asked_for():
    shown = large().of_size(112)
    assert shown.input_shape == (112, 112, 3)
    assert shown.train_view == RandomResizedCrop(112)
    assert shown.evaluation_view == CentreCrop(128, 112)

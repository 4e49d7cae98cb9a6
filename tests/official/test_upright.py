"""Pictures that are more than 8 bits, opaque and upright, from their files to arrays."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from official.data.images import EncodedImages
from official.data.presentation import WholePicture

GREY = np.array([[0, 300, 256 * 100], [256 * 200, 65_535, 257 * 128]])


def shown(path, size, mode="RGB"):
    return EncodedImages.of_files([str(path)], [0]).view(0, WholePicture(size, mode))


def png_of_16_bits(colours: np.ndarray) -> bytes:
    """PIL reads such a file in colour, but writes none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        length, check = struct.pack(">I", len(content)), zlib.crc32(checked)
        return length + checked + struct.pack(">I", check)

    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize("file", ["grey.png", "grey.tif", "grey.pgm", "colour.png"])
def test_16_bits_become_the_upper_8(tmp_path, file):
    path = tmp_path / file
    if path.stem == "grey":
        Image.fromarray(GREY.astype(np.uint16)).save(path)
    else:
        path.write_bytes(png_of_16_bits(np.stack([GREY] * 3, axis=-1)))
    expected = [[0, 1, 100], [200, 255, 128]]
    assert shown(path, (2, 3), "L")[..., 0].tolist() == expected
    assert shown(path, (2, 3))[..., 2].tolist() == expected


@pytest.mark.parametrize(
    "pixels", [np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70_000, np.int32)]
)
def test_grey_values_of_no_known_range_are_refused(tmp_path, pixels):
    path = tmp_path / "depth.tif"
    Image.fromarray(pixels).save(path)
    with pytest.raises(OSError, match=r"depth.tif .* of 8 or 16 bits. Received: .*"):
        shown(path, (2, 2))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_camera_held_sideways(tmp_path, suffix):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the row at the top of the picture is its right side
    path = tmp_path / f"sideways.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    seen = shown(path, (32, 16))
    assert seen[:14].min() > 250 and seen[18:].max() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_shows_black(tmp_path, mode):
    pixels = np.full((2, 2, 4), 200, np.uint8)
    pixels[..., 3] = [[255, 0], [255, 0]]
    path, options = tmp_path / "logo.png", {}
    if mode in ("P", "RGB"):  # one colour of the palette, or one of all, is transparent
        pixels[:, 1, :3] = 90
        picture = Image.fromarray(pixels[..., :3]).convert(mode)
        options["transparency"] = picture.getpixel((1, 0))
    else:
        picture = Image.fromarray(pixels).convert(mode)
    picture.save(path, **options)
    seen = shown(path, (2, 2))
    assert (np.abs(seen[:, 0].astype(int) - 200) < 5).all()
    assert (seen[:, 1] == 0).all()


def test_a_bomb_is_an_image_that_cannot_be_read(tmp_path, monkeypatch):
    Image.new("L", (40, 40)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match=r"bomb\.png is an image that cannot be read"):
        shown(tmp_path / "bomb.png", (40, 40))

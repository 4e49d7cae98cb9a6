"""A picture as a person sees it: upright, opaque, in 8 bits a colour."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_IN_16_BITS = 2**16 - 1


def upright(picture: "Image") -> "Image":
    """Returns what a viewer shows of a picture.

    It is turned as its EXIF orientation says. 16 bits a pixel become the upper 8 of
    them, which is what PIL makes of 16 bits a colour. What is transparent shows black,
    the colour of the borders that augmentation adds.

    Raises:
        ValueError: its pixels have no known range.
    """
    import PIL.Image
    import PIL.ImageOps

    PIL.ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] in "IF":
        picture = _in_8_bits(picture)
    if not picture.has_transparency_data:
        return picture
    black = PIL.Image.new("RGBA", picture.size, "black")
    return PIL.Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB")


def _in_8_bits(picture: "Image") -> "Image":
    import PIL.Image

    pixels = np.asarray(picture)
    if picture.mode == "F" or not 0 <= pixels.min() <= pixels.max() <= _MOST_IN_16_BITS:
        raise ValueError(
            "Grey values must be whole numbers of 8 or 16 bits. Received: "
            f"{pixels.dtype}, {pixels.min()} to {pixels.max()}"
        )
    return PIL.Image.fromarray((pixels >> 8).astype(np.uint8))

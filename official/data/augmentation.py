"""Random crops and flips of a whole batch at once."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to a training image.

    Attributes:
        pad: black pixels added on each side before a crop of the original size.
        flip: whether half of the images are mirrored left to right.
    """

    pad: int = 0
    flip: bool = False

    def __call__(self, images: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Returns `images` `[batch, height, width, channels]`, changed at random.

        Args:
            images: raw pixels, so that black is zero.
            bits: 64 random bits per image, `[batch]`, which decide everything.
        """
        if self.pad:
            images = self._crop(images, bits)
        if self.flip:
            mirrored = (bits & np.uint64(1)).astype(bool)
            images = images.copy()
            images[mirrored] = images[mirrored, :, ::-1]
        return images

    def _crop(self, images: np.ndarray, bits: np.ndarray) -> np.ndarray:
        sides = (self.pad, self.pad)
        padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
        # [batch, top, left, 1, height, width, channels], a view
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, images.shape[1:], axis=(1, 2, 3)
        )
        offsets = np.uint64(2 * self.pad + 1)
        top = (bits >> np.uint64(32)) % offsets
        left = ((bits >> np.uint64(1)) & np.uint64(0x7FFFFFFF)) % offsets
        return windows[np.arange(len(images)), top.astype(int), left.astype(int), 0]

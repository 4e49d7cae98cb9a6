"""Encoded images (JPEG, PNG, ...) that lie in files, and their decoding."""

import dataclasses
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from official.data.upright import upright

if TYPE_CHECKING:
    from PIL.Image import Image

# Makes raw pixels [height, width, channels] of a picture and 64 random bits.
View = Callable[["Image", int], np.ndarray]

WHOLE_FILE = -1
_MOST_THREADS = 32


@dataclasses.dataclass(frozen=True)
class EncodedImages:
    """Where each of many encoded images lies, and its class.

    Attributes:
        files: names of the files.
        file: index of each image's file, `[images]`.
        begin: its first byte in that file, `[images]`.
        length: its length in bytes, or `WHOLE_FILE`, `[images]`.
        labels: its class, int64 `[images]`.
    """

    files: tuple[str, ...] = dataclasses.field(repr=False)
    file: np.ndarray = dataclasses.field(repr=False)
    begin: np.ndarray = dataclasses.field(repr=False)
    length: np.ndarray = dataclasses.field(repr=False)
    labels: np.ndarray

    @classmethod
    def of_files(cls, files: Iterable[str], labels: Iterable[int]) -> "EncodedImages":
        """One image per file."""
        files = tuple(files)
        return cls(
            files=files,
            file=np.arange(len(files)),
            begin=np.zeros(len(files), np.int64),
            length=np.full(len(files), WHOLE_FILE),
            labels=np.fromiter(labels, np.int64, len(files)),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray | slice) -> "EncodedImages":
        """Returns only these images; `chosen` indexes or masks them."""
        fields = ("file", "begin", "length", "labels")
        return dataclasses.replace(
            self, **{name: getattr(self, name)[chosen] for name in fields}
        )

    def picture(self, index: int) -> "Image":
        """Opens one image, as `official.data.upright` shows it.

        Raises:
            OSError: its file does not hold a readable image.
        """
        import PIL.Image

        path = self.files[self.file[index]]
        with open(path, "rb") as file:
            file.seek(int(self.begin[index]))
            encoded = file.read(int(self.length[index]))
        try:
            picture = PIL.Image.open(io.BytesIO(encoded))
            picture.load()
            return upright(picture)
        except PIL.UnidentifiedImageError:
            raise OSError(f"{self._place(index)} is no image") from None
        except Exception as error:  # Whatever a damaged file does to its decoder
            raise OSError(
                f"{self._place(index)} is an image that cannot be read: {error}"
            ) from error

    def view(self, index: int, view: View, bits: int = 0) -> np.ndarray:
        """Returns raw pixels of one image, `[height, width, channels]`.

        Raises:
            OSError: the image cannot be read, or the view cannot be had of it.
        """
        try:
            return view(self.picture(index), bits)
        except ValueError as error:
            raise OSError(f"{self._place(index)}: {error}") from error

    def _place(self, index: int) -> str:
        path = self.files[self.file[index]]
        if self.length[index] == WHOLE_FILE:
            return path
        return f"{path}, from byte {self.begin[index]} on,"


def thread_pool() -> ThreadPoolExecutor:
    """Threads to decode images with: PIL lets them run side by side."""
    return ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS))


def decode_all(images: EncodedImages, view: View) -> np.ndarray:
    """Decodes all images, `[images, height, width, channels]`; all of one size."""
    with thread_pool() as pool:
        return np.stack(
            list(pool.map(lambda index: images.view(index, view), range(len(images))))
        )

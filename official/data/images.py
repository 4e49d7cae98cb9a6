"""Labelled images: decoded in memory, or encoded (JPEG, PNG, ...) in files."""

import dataclasses
import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageOps

from official.data.presentation import View

# Which images are wanted, and 64 random bits for each of them
Draw = tuple[np.ndarray, np.ndarray]
# Raw pixels, labels and random bits
Shown = tuple[np.ndarray, np.ndarray, np.ndarray]

_WHOLE_FILE = -1
_MOST_THREADS = 32
_BATCHES_AHEAD = 2
_MOST_IN_16_BITS = 2**16 - 1
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


@dataclasses.dataclass(frozen=True)
class DecodedImages:
    """Raw pixels `[images, height, width, channels]` and labels `[images]`."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray | slice) -> "DecodedImages":
        return DecodedImages(self.pixels[chosen], self.labels[chosen])

    def shown(self, draws: Iterable[Draw], view: View) -> Iterator[Shown]:
        """Pixels, labels and chance of each draw; they are what a view shows already."""
        for indices, bits in draws:
            yield self.pixels[indices], self.labels[indices].astype(np.int32), bits


@dataclasses.dataclass(frozen=True)
class EncodedImages:
    """Where each of many encoded images lies, and its class."""

    files: tuple[str, ...]
    file: np.ndarray  # which of them an image lies in
    begin: np.ndarray  # its first byte in that file
    length: np.ndarray  # its length in bytes, or -1 for the whole file
    labels: np.ndarray  # its class, int64

    @classmethod
    def of_files(cls, files: Iterable[str], labels: Iterable[int]) -> "EncodedImages":
        """One image per file."""
        files = tuple(files)
        begin, length = np.zeros(len(files), np.int64), np.full(len(files), _WHOLE_FILE)
        labels = np.fromiter(labels, np.int64, len(files))
        return cls(files, np.arange(len(files)), begin, length, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray | slice) -> "EncodedImages":
        rows = (self.file, self.begin, self.length, self.labels)
        return EncodedImages(self.files, *(row[chosen] for row in rows))

    def picture(self, index: int) -> PIL.Image.Image:
        """Opens one image as a person sees it: upright, opaque, in 8 bits a colour."""
        path = self.files[self.file[index]]
        with open(path, "rb") as file:
            file.seek(int(self.begin[index]))
            encoded = file.read(int(self.length[index]))
        try:
            picture = PIL.Image.open(io.BytesIO(encoded))
            picture.load()
            return _as_seen(picture)
        except PIL.UnidentifiedImageError:
            raise OSError(f"{self._place(index)} is no image") from None
        except Exception as error:  # Whatever a damaged file does to its decoder
            raise OSError(
                f"{self._place(index)} is an image that cannot be read: {error}"
            ) from error

    def view(self, index: int, view: View, bits: int = 0) -> np.ndarray:
        """Raw pixels of one image; `OSError` if they cannot be had of it."""
        try:
            return view(self.picture(index), bits)
        except ValueError as error:
            raise OSError(f"{self._place(index)}: {error}") from error

    def shown(self, draws: Iterable[Draw], view: View) -> Iterator[Shown]:
        """Pixels, labels and chance of each draw, decoded some draws ahead.

        Images are read from wherever they lie, so that an epoch is shuffled as a whole
        and training resumes at any step at once.
        """
        pool = thread_pool()
        ahead: list[tuple[list[Future], np.ndarray, np.ndarray]] = []

        def next_batch() -> Shown:
            views, labels, bits = ahead.pop(0)
            return np.stack([view.result() for view in views]), labels, bits

        try:
            for indices, bits in draws:
                views = [
                    pool.submit(self.view, index, view, chance)
                    for index, chance in zip(indices, bits, strict=True)
                ]
                ahead.append((views, self.labels[indices].astype(np.int32), bits))
                if len(ahead) > _BATCHES_AHEAD:
                    yield next_batch()
            while ahead:
                yield next_batch()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def decoded(self, view: View) -> DecodedImages:
        """Decodes all of them, which must be shown in one size."""
        with thread_pool() as pool:
            pixels = list(pool.map(lambda i: self.view(i, view), range(len(self))))
        return DecodedImages(np.stack(pixels), self.labels)

    def _place(self, index: int) -> str:
        path = self.files[self.file[index]]
        if self.length[index] == _WHOLE_FILE:
            return path
        return f"{path}, from byte {self.begin[index]} on,"


Images = DecodedImages | EncodedImages
SomeImages = TypeVar("SomeImages", bound=Images, covariant=True)


@dataclasses.dataclass(frozen=True)
class ImageSet(Generic[SomeImages]):
    """The images of a data set; the first of those to train on are a sample of them."""

    train: SomeImages
    test: SomeImages
    class_names: tuple[str, ...]  # by label


def array_path(name: str, data_dir: str) -> Path:
    """Where the file of arrays of a small set lies in a folder."""
    return Path(data_dir).expanduser() / f"{name}.npz"


def read_arrays(path: Path) -> ImageSet[DecodedImages]:
    """Reads a file of arrays; raises `OSError` if it is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            train, y_train, test, y_test, class_names = (file[name] for name in _ARRAYS)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise OSError(
            f"'{path}' must hold the arrays {', '.join(_ARRAYS)}: {error}"
        ) from error
    names = tuple(str(name) for name in class_names)
    return ImageSet(DecodedImages(train, y_train), DecodedImages(test, y_test), names)


def write_arrays(path: Path, images: ImageSet[DecodedImages]) -> None:
    """Writes what `read_arrays` reads."""
    train, test, names = images.train, images.test, np.array(images.class_names)
    values = (train.pixels, train.labels, test.pixels, test.labels, names)
    partial = path.with_suffix(".partial.npz")
    arrays = dict(zip(_ARRAYS, values, strict=True))
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def thread_pool() -> ThreadPoolExecutor:
    """Threads to decode images with: PIL lets them run side by side."""
    return ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS))


def _as_seen(picture: PIL.Image.Image) -> PIL.Image.Image:
    """What a viewer shows of a picture, which is turned as its EXIF orientation says."""
    PIL.ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] in "IF":
        picture = _in_8_bits(picture)
    if not picture.has_transparency_data:
        return picture
    # The colour of the borders that augmentation adds
    black = PIL.Image.new("RGBA", picture.size, "black")
    return PIL.Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB")


def _in_8_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The upper 8 of 16 bits a pixel: what PIL makes of 16 bits a colour."""
    pixels = np.asarray(picture)
    if picture.mode == "F" or not 0 <= pixels.min() <= pixels.max() <= _MOST_IN_16_BITS:
        raise ValueError(
            "Grey values must be whole numbers of 8 or 16 bits. Received: "
            f"{pixels.dtype}, {pixels.min()} to {pixels.max()}"
        )
    return PIL.Image.fromarray((pixels >> 8).astype(np.uint8))

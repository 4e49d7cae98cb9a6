"""Reads all images of a data set: training finds a damaged one only when its batch comes.

    python -m official.data.check --dataset=imagenet --data_dir=~/imagenet

Every image that cannot be read is listed. Exit codes: 0 a training can read all of them;
1 it cannot; 2 wrong usage.
"""

import contextlib
import sys
from collections.abc import Iterator

from absl import app, flags

from official import data
from official.common import DEFINE_path
from official.data.folders import presentation_of
from official.data.images import EncodedImages, thread_pool
from official.data.presentation import View

_AT_A_TIME = 1024


def unreadable(name: str, data_dir: str | None = None) -> Iterator[str]:
    """Says what is wrong with each image of a set that cannot be read.

    Several threads read them and show their progress on stderr. If all can be read, the
    set is loaded, which finds what else may be wrong with it and raises as it does.
    """
    found = data.encoded(name, data_dir=data_dir)
    damaged = False
    if found:
        view = None
        with contextlib.suppress(OSError):  # An image that tells it may be damaged.
            view = presentation_of(found).evaluation_view
        for images in (found.train, found.test):
            for message in _unreadable(images, view):
                damaged = True
                yield message
    if not damaged:
        data.load(name, data_dir=data_dir)


def _unreadable(images: EncodedImages, view: View | None) -> Iterator[str]:
    def message(index: int) -> str | None:
        try:
            if view:
                images.view(index, view)
            else:
                images.picture(index)
        except OSError as error:
            return str(error)
        return None

    with thread_pool() as pool:
        for first in range(0, len(images), _AT_A_TIME):
            after = min(first + _AT_A_TIME, len(images))
            yield from filter(None, pool.map(message, range(first, after)))
            progress = f"{after:,} of {len(images):,} images read"
            print(progress, end="\r", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main(argv: list[str]) -> int:
    """Checks the set that the flags name."""
    damaged = 0
    try:
        for message in unreadable(flags.FLAGS.dataset, flags.FLAGS.data_dir):
            print(message, flush=True)
            damaged += 1
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, FileNotFoundError)) else 1
    print(f"{damaged} images cannot be read" if damaged else "All images can be read")
    return 1 if damaged else 0


if __name__ == "__main__":
    flags.DEFINE_string("dataset", None, "The images, as for training.", required=True)
    DEFINE_path("data_dir", None, "Their folder, as for training.")
    app.run(main)

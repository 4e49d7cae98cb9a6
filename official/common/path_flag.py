"""Flags that name a file or a folder."""

import functools
import os

from absl import flags


class _PathParser(flags.ArgumentParser):
    """Reads a path; `~` is the home folder, which a shell leaves alone in `--x=~/y`."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)


# As absl's `DEFINE_string`, for a path
DEFINE_path = functools.partial(flags.DEFINE, _PathParser())

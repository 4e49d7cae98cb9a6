"""Flags that name a file or a folder."""

import os

from absl import flags


class PathParser(flags.ArgumentParser):
    """Reads a path; `~` is the home folder, which a shell leaves as it is in `--x=~/y`.

    Example:

        flags.DEFINE(PathParser(), "data_dir", None, "Folder of the images.")
    """

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

"""The page of the programs' flags, made from what the programs themselves say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/flags.md"
PROGRAMS = ("train", "report", "export", "evaluate", "demo")
HEAD = """# The programs' flags

Made from the code; `--help` says the same. `--flagfile=FILE` reads flags from a file, one
on a line, and a file may name another; what comes later counts.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page."""
    lines = [HEAD, *(line for name in PROGRAMS for line in _described(name))]
    files.append(File.generated(config, PAGE, content="\n".join(lines)))
    return files


def _described(name: str) -> Iterator[str]:
    command = [sys.executable, "-m", f"dlth_tf.{name}", "--helpxml"]
    xml = subprocess.run(command, check=True, capture_output=True).stdout
    program = ElementTree.fromstring(xml)
    yield f"## {name}\n\n{program.findtext('usage')}"
    for flag in program.iter("flag"):
        if flag.findtext("key") == "yes" and flag.findtext("file") != "absl.app":
            yield _described_flag(name, flag)


def _described_flag(program: str, flag: ElementTree.Element) -> str:
    name, default = flag.findtext("name"), flag.findtext("default")
    values = [value.text or "" for value in flag.iter("enum_value")]
    told = [re.sub(r"([*_<>|])", r"\\\1", flag.findtext("meaning") or "")]
    if values:
        told.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    if default not in ("", "None", None):
        told.append(f"Default: `{default}`.")
    # Each program has its own anchors.
    return f"### `--{name}` {{ #{program}-{name} }}\n\n{' '.join(told)}\n"

"""What `--help` says."""

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from absl import flags

from dlth_tf import plugins

_WIDTH = 80
_ALL = (
    "--flagfile=FILE reads flags from a file, one on a line; the package's own by their "
    "names, such as quickstart.flags. What comes later counts. --helpfull tells all."
)


def called() -> str:
    """How the program was called."""
    name = Path(sys.argv[0])
    return f"python -m dlth_tf.{name.stem}" if name.suffix == ".py" else name.name


def help_text(main: Callable, headings: Mapping[str, str]) -> str:
    """What a program's module says of itself, and its flags, in groups.

    `headings` are by the flag that each stands above.
    """
    own = main.__module__
    # To absl the module that runs is called by its file.
    module = sys.argv[0] if own == "__main__" else own
    paragraphs = (sys.modules[own].__doc__ or "").split("\n\n")
    # What is indented is a command, on one line.
    parts = [p if p.startswith(" ") else _filled(p) for p in (*paragraphs, _ALL)]
    lines = ["\n\n".join(parts)]
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        if flag.name in headings:
            lines.append(f"\n{headings[flag.name]}\n{'-' * len(headings[flag.name])}")
        lines += _told(flag)
    return "\n".join(lines)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _told(flag: flags.Flag) -> Iterator[str]:
    if flag.boolean:
        yield f"  --[no]{flag.name}"
    else:
        values = getattr(flag.parser, "enum_values", None)
        default = (flag.default_as_str or "").strip("'") or "..."
        yield f"  --{flag.name}={'|'.join(values) if values else default}"
    # absl puts what may be chosen before the text.
    told = flag.help.partition(">: ")[2] if flag.help.startswith("<") else flag.help
    if own := plugins.REGISTERED.get(flag.name):
        told += f" By --plugins: {'; '.join(own)}."
    yield _filled(told, " " * 6)

"""Flags in files: `--flagfile=NAME` is a file here, or else one of the package's."""

from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "configs"


def in_place(arguments: Iterable[str], within: tuple[Path, ...] = ()) -> Iterator[str]:
    """The arguments, with what each flagfile says in its place.

    A line of a file is an argument, or a remark after # or //. A ValueError names a file
    that can't be read, or that includes itself; `within` are those that include these.
    """
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            yield argument
            continue
        path = _found(value if equals else next(rest, ""))
        if path in within:
            raise ValueError(f"--flagfile={path} includes itself.")
        yield from in_place(_lines(path), (*within, path))


def _found(name: str) -> Path:
    path = Path(name.strip()).expanduser()
    packaged = PACKAGED / name.strip().removeprefix("configs/")
    return packaged if packaged.is_file() and not path.exists() else path


def _lines(path: Path) -> list[str]:
    try:
        lines = map(str.strip, path.read_text().splitlines())
    except OSError as error:
        own = sorted(p.relative_to(PACKAGED).as_posix() for p in PACKAGED.rglob("*.*"))
        raise ValueError(
            f"--flagfile: '{path}' can't be read ({error.strerror}). The package's own: "
            f"{', '.join(own)}"
        ) from None
    return [line for line in lines if line and not line.startswith(("#", "//"))]

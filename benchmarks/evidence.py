"""The tables of evidence, made of results alone.

    python -m benchmarks.evidence runs/evidence --keep=docs/evidence/reduced.jsonl
    python -m benchmarks.evidence docs/evidence/reduced.jsonl
    python -m benchmarks.evidence docs/evidence/reduced.jsonl \
        --against=docs/evidence/authors.jsonl --unpaired
    python -m benchmarks.evidence

Results are those of an experiment (its folder or its `results.jsonl`), of
`benchmarks.candidates` or of `benchmarks.origins`; each experiment has its own tables.
Methods are compared by pairs: from the same seed they have the same initial
weights and batches. `--against` compares one program with another, pairs too, unless
they share no weights. Without a file the tables of the pages are made anew, each after a
comment that holds its command.
"""

import argparse
import json
import math
import re
import shlex
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.differences import BySeed, Difference, paired, unpaired
from dlth_tf.experiment.engine.folder import RESULTS
from dlth_tf.experiment.plan.methods import written
from dlth_tf.experiment.results.comparison import Cell, Comparison, aligned
from dlth_tf.experiment.results.row import Row

PAGES = ("docs/evidence.md", "README.md")
BASELINES = ("scratch", "scratch_long")
_MADE = re.compile(
    r"(<!-- python -m benchmarks\.evidence (.+?) -->\n).*?(<!-- end of the table -->)",
    re.DOTALL,
)
_BY_SEED = ("method", "sparsity", "test accuracy % by seed", "mean", "images seen")
_COMMON = ("sparsity", "epochs", "precision", "split")
_GAINS = ("mean difference", "95% interval")
_FOLDERS = re.compile(r"(?<![\w.~])/(?:[^/\s'\"]+/)*")
"""Of a path from the root, all but its last part."""

Record = dict[str, Any]


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.files:
        for page in map(Path, PAGES):
            page.write_text(remade(page.read_text()))
        return
    if arguments.keep and len(arguments.files) > 1:
        parser.error("--keep takes the results of one folder")
    try:
        print(tables(arguments))
        if arguments.keep:
            _keep(_read(arguments.files), arguments.keep)
    except (ValueError, OSError) as error:
        parser.exit(2, f"Error: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.evidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FOLDER_OR_FILE")
    parser.add_argument(
        *("--baseline", "-b"), default=",".join(BASELINES), help="what others are held to"
    )
    parser.add_argument("--against", type=Path, help="results of another program")
    parser.add_argument("--unpaired", action="store_true", help="it shares no weights")
    parser.add_argument("--keep", type=Path, help="file to keep one's results in")
    return parser


def remade(page: str) -> str:
    """A page with its tables made anew, each by the command in the comment before it."""

    def table(found: re.Match[str]) -> str:
        made = tables(_parser().parse_args(shlex.split(found[2])))
        return f"{found[1]}\n{made}\n\n{found[3]}"

    return _MADE.sub(table, page)


def tables(arguments: argparse.Namespace) -> str:
    """What the command prints, as Markdown."""
    records = _read(arguments.files)
    if arguments.against:
        others = _read([arguments.against])
        return _programs(records, others, unpaired if arguments.unpaired else paired)
    if "name" in records[0]:
        return of_names(records)
    baselines = arguments.baseline.split(",")
    parts: list[str] = []
    for path in arguments.files:
        rows = [Row.parse(record) for record in _read([path])]
        if len({(row.method, row.sparsity, row.seed) for row in rows}) < len(rows):
            raise ValueError(f"'{path}' has a method, sparsity and seed twice")
        parts += _experiment(rows, baselines)
    return "\n\n".join(parts)


def _read(paths: Iterable[Path]) -> list[Record]:
    """The records of results, one at least; a folder's are in its `results.jsonl`."""
    files = [path / RESULTS if path.is_dir() else path for path in paths]
    found = [json.loads(line) for file in files for line in file.open()]
    if not found:
        raise ValueError(f"There are no results in {', '.join(map(str, files))}")
    return found


def _keep(records: Sequence[Record], file: Path) -> None:
    """Writes results for others to read: nothing in them says where they were made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(_without_folders(record)) for record in records]
    file.write_text("".join(f"{line}\n" for line in lines))


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def _experiment(rows: Sequence[Row], baselines: Sequence[str]) -> Iterator[str]:
    """Accuracies by seed, and paired differences to the baselines, of one protocol."""
    comparison = Comparison(row for row in rows if row.failed is None)
    yield _title(rows[0])
    yield aligned([_BY_SEED, *map(_cell_line, comparison.cells)])
    failed = [f"{row.name} ({row.failed})" for row in rows if row.failed]
    if failed:
        yield f"Failed: {', '.join(failed)}."
    gains = [
        (cell.method, baseline.method, written(sparsity), *_told(found), _cost(cell))
        for sparsity in comparison.sparsities
        for cell, baseline in _held_to(comparison.at(sparsity), baselines)
        if (found := paired(_by_seed(cell), _by_seed(baseline)))
    ]
    if gains:
        head = ("method", "minus", "sparsity", "by seed", *_GAINS, "images seen")
        yield aligned([head, *gains])


def _title(row: Row) -> str:
    """What was trained, for how long, and in which type it was computed."""
    flags = row.flags
    if not flags:
        return "Test accuracy in percent:"
    number = f"{examples:,} images of " if (examples := flags["train_examples"]) else ""
    computed = f"computed in {flags['mixed_precision'] or 'float32'}"
    return (
        f"{flags['model']}, {number}{flags['dataset']}, {flags['epochs']} epochs, "
        f"{computed}; test accuracy in percent:"
    )


def _held_to(
    cells: Sequence[Cell], baselines: Sequence[str]
) -> Iterator[tuple[Cell, Cell]]:
    """Each method with each baseline that is there, no two of them both ways round."""
    of_method = {cell.method: cell for cell in cells}
    for cell in cells:
        for name in baselines:
            if name == cell.method:
                break
            if name in of_method:
                yield cell, of_method[name]


def _by_seed(cell: Cell) -> BySeed:
    seeds = [run.seed for run in cell.runs]
    return dict(zip(seeds, cell.percents, strict=True))


def _cell_line(cell: Cell) -> tuple[str, ...]:
    accuracies = ", ".join(f"{seed}: {p:.2f}" for seed, p in _by_seed(cell).items())
    return cell.method, written(cell.sparsity), accuracies, cell.accuracy, _cost(cell)


def _cost(cell: Cell) -> str:
    return "-" if cell.cost is None else f"{cell.cost:.2f}x"


def _told(difference: Difference | None) -> tuple[str, ...]:
    if difference is None:
        return ("-",) * 3
    return difference.pairs, f"{difference.mean:+.2f}", difference.interval


def _programs(
    records: Sequence[Record],
    others: Sequence[Record],
    compared: Callable[[BySeed, BySeed], Difference | None],
) -> str:
    """One program's accuracies beside another's, where both have any."""
    both = [[Row.parse(record) for record in some] for some in (records, others)]
    here, there = (Comparison(row for row in rows if not row.failed) for rows in both)
    lines = []
    for one, other in ((a, b) for a in here.cells for b in there.cells if a.key == b.key):
        if found := compared(_by_seed(one), _by_seed(other)):
            told = *_cell_line(one)[:4], *_cell_line(other)[2:4], *_told(found)[1:]
            lines.append((*told, _cost(one)))
    head = ("method", "sparsity", "here, by seed", "mean", "there, by seed", "mean")
    titles = f"Here: {_title(both[0][0])} There: {_title(both[1][0])}"
    return f"{titles}\n\n{aligned([(*head, *_GAINS, 'images seen'), *lines])}"


def of_names(records: Sequence[Record]) -> str:
    """Candidates by their gain over scratch, or weights of different origin.

    Candidates come in pairs with scratch; weights of one origin in none with others'.
    """
    groups: dict[tuple[Any, ...], dict[str, list[Record]]] = {}
    for record in records:
        key = tuple(record[part] for part in _COMMON)
        groups.setdefault(key, {}).setdefault(record["name"], []).append(record)
    return "\n\n".join(_named(key, found) for key, found in sorted(groups.items()))


def _named(common: tuple[Any, ...], groups: dict[str, list[Record]]) -> str:
    sparsity, epochs, precision, split = common
    accuracies = {
        name: dict(sorted((record["seed"], record["accuracy"]) for record in records))
        for name, records in groups.items()
    }
    # The first origin, where there is no scratch.
    base = "scratch" if "scratch" in groups else next(iter(groups))
    compared = paired if base == "scratch" else unpaired
    gains = {name: compared(of, accuracies[base]) for name, of in accuracies.items()}
    means = {name: gain.mean if gain else -math.inf for name, gain in gains.items()}
    lines = []
    for name in sorted(groups, key=means.__getitem__, reverse=True):
        values = list(accuracies[name].values())
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        mean = f"{statistics.mean(values):.2f}{spread}"
        told = _told(gains[name] if name != base else None)
        by_seed = ", ".join(f"{value:.2f}" for value in values)
        images = f"{statistics.mean(r['images'] for r in groups[name]):,.0f}"
        lines.append((name, by_seed, mean, *told, images))
    head = ("", "% by seed", "mean", f"minus {base}, by seed", *_GAINS, "images")
    return (
        f"Sparsity {written(sparsity)}, {epochs} epochs' worth of images, computed in "
        f"{precision}; {split} accuracy:\n\n{aligned([head, *lines])}"
    )


if __name__ == "__main__":
    main()

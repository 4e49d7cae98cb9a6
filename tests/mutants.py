"""Are the tests strong enough to notice a change of the code?

One place of a module is changed at a time (a mutant), and the module's own tests are run:
they kill the mutant, or it survives. Run by `make mutants`, or alone:

    python -m tests.mutants --module=tickets --sample=40
    python -m tests.mutants --module=tickets --at=dlth_tf/tickets/masks.py:141

Mutmut was tried: it leaves decorated functions as they are, all context managers and
properties, changes every error message instead, and takes hours, without a sample.

A process that has imported TensorFlow, but run nothing, is forked for each mutant, which
lies in a copy of the project, so that programs that a test starts see it, too.
"""

import argparse
import ast
import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
AT_LEAST = 0.85

_TICKETS = "masks sparsity units ticket filter_tickets ticket_file"
_STEPS = (
    "dynamic_arguments dynamic_algorithms dynamic_fits pruning_state transformation "
    "leaves_no_trace steps steps_on_tensorflow dynamic_steps going_on fixed_ticket"
)
_RESULTS = "dlth_tf/experiment/results"
_ROWS = "rows lock shards usage export"
MODULES = {
    "tickets": ("dlth_tf/tickets/*.py", "library", _TICKETS),
    "files": ("dlth_tf/files.py", "library", "files ticket_file"),
    "saliency": ("dlth_tf/saliency/*.py", "library", "saliency backends"),
    "cost": ("dlth_tf/cost.py", "library", "cost recurrent"),
    "plan": ("dlth_tf/experiment/plan/runs.py", "program", "rows shards usage plan"),
    "results": (f"{_RESULTS}/results.py {_RESULTS}/claim.py", "program", _ROWS),
    "table": (f"{_RESULTS}/comparison.py", "program", "rows report"),
    "callbacks": ("dlth_tf/callbacks/*.py dlth_tf/step/*.py", "library", _STEPS),
}
"""The files of each module, and the folder and names of its tests, quick ones first."""

_SWAPPED = {
    **{ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Eq: ast.NotEq, ast.Is: ast.IsNot},
    **{ast.In: ast.NotIn, ast.Add: ast.Sub, ast.Mult: ast.Div, ast.And: ast.Or},
    **{ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr},
}
_OTHER = {
    **_SWAPPED,
    **{new: old for old, new in _SWAPPED.items()},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
}
_CHANGED = ast.Compare | ast.BoolOp | ast.UnaryOp
# Tests in other processes, and long ones, that tell what quicker ones do.
_SLOW = "every_process tickets_draw hundred_million steps_run one_program_does help"
# A check that no input fails is no part of what a function does.
_GUARDS = {"strict"}


class Mutant(NamedTuple):
    """A file, what is changed in it where, and its text then."""

    path: str
    line: int
    change: str
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}  {self.change}"


def mutants_of(path: str) -> Iterator[Mutant]:
    """All mutants of a file."""
    tree = ast.parse((ROOT / path).read_text())
    for node in list(_code(tree)):
        for other in _alternatives(node):
            before, after = ast.unparse(node), ast.unparse(other)
            change = " -> ".join(" ".join(t.split())[:70] for t in (before, after))
            _Replaced(node, other).visit(tree)
            yield Mutant(path, node.lineno, change, ast.unparse(tree))
            _Replaced(other, node).visit(tree)


class _Replaced(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST):
        self._old, self._new = old, new

    def visit(self, node):
        return self._new if node is self._old else self.generic_visit(node)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something: no types, imports, decorators, texts and messages."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.keyword) and node.arg in _GUARDS:
        return
    source = ast.unparse(node) if isinstance(node, ast.stmt) else ""
    if source.startswith(("_log.", "__all__", "if TYPE_CHECKING", "'", '"')):
        return
    yield node
    if isinstance(node, ast.Raise):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "format_spec"):
            continue
        for child in value if isinstance(value, list) else [value]:
            text_of = isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)
            if isinstance(child, ast.AST) and not text_of:
                yield from _code(child)


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place, of the same syntax and of another meaning."""
    match node:
        case ast.Compare(left, ops, comparators):
            for place, op in enumerate(ops):
                changed = [*ops[:place], _OTHER[type(op)](), *ops[place + 1 :]]
                yield ast.Compare(left, changed, comparators)
        case ast.BinOp(left, op, right) if type(op) in _OTHER:
            yield ast.BinOp(left, _OTHER[type(op)](), right)
        case ast.AugAssign(target, op, value) if type(op) in _OTHER:
            yield ast.AugAssign(target, _OTHER[type(op)](), value)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(_OTHER[type(op)](), values)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(str(value) | bytes(value)) if value:
            yield ast.Constant(value + value[:1])
        case ast.If(test) | ast.IfExp(test) if not isinstance(test, _CHANGED):
            yield type(node)(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)
        case ast.Return(value) if value and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign([ast.Subscript() | ast.Attribute()]):
            yield ast.Pass()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def in_a_copy(folder: str) -> None:
    """Makes this process work in a copy of the project."""
    copy = tempfile.mkdtemp(dir=folder)
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "runs", "docs")
    shutil.copytree(ROOT, copy, ignore=leave_out, dirs_exist_ok=True)
    os.chdir(copy)
    sys.path[:] = [copy, *(p for p in sys.path if p and Path(p) != ROOT)]


def fate(task: tuple[Mutant, list[str], float]) -> tuple[Mutant, str]:
    """What becomes of a mutant when tests are run for some seconds at most."""
    mutant, tests, seconds = task
    Path(mutant.path).write_text(mutant.text)
    deadline = time.monotonic() + seconds
    pid, ended = os.fork(), (0, 0)
    if not pid:
        _run(tests)
    while not ended[0] and time.monotonic() < deadline:
        time.sleep(0.05)
        ended = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not ended[0]:
        os.waitpid(pid, 0)
    shutil.copy(ROOT / mutant.path, mutant.path)
    return mutant, "timeout" if not ended[0] else "killed" if ended[1] else "SURVIVED"


def _run(tests: list[str]) -> None:
    """Runs tests in this process, which ends with them."""
    code = 1
    try:
        os.setsid()
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in [n for n in sys.modules if n.split(".")[0] == "tests"]:
            del sys.modules[name]
        left_out = f"not ({' or '.join(_SLOW.split())})"
        pytest = importlib.import_module("pytest")
        code = pytest.main(["-x", "-p", "no:cacheprovider", "-k", left_out, *tests])
    finally:
        os._exit(code)


def tried(pool, name: str, sample: int, at: list[str] | None) -> list[str]:
    """What became of a module's mutants; each is told of on the way."""
    patterns, folder, names = MODULES[name]
    tests = [f"tests/{folder}/test_{name}.py" for name in names.split()]
    found = [path for pattern in patterns.split() for path in ROOT.glob(pattern)]
    paths = sorted(os.fspath(path.relative_to(ROOT)) for path in found)
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    chosen = [m for m in mutants if not at or f"{m.path}:{m.line}" in at]
    chosen = random.Random(name).sample(chosen, min(sample, len(chosen)))
    began = time.monotonic()
    unchanged = Mutant(paths[0], 0, "unchanged", (ROOT / paths[0]).read_text())
    if pool.apply(fate, ((unchanged, tests, 3600),))[1] != "SURVIVED":
        sys.exit(f"The tests of {name} fail without a change")
    seconds = time.monotonic() - began
    print(f"{name}: {len(chosen)} of {len(mutants)} mutants, tests of {seconds:.0f} s")
    tasks = [(mutant, tests, 10 + 3 * seconds) for mutant in chosen]
    fates = []
    for mutant, end in pool.imap_unordered(fate, tasks):
        print(f"  {end:8}  {mutant}", flush=True)
        fates.append(end)
    return fates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--module", choices=MODULES, action="append")
    parser.add_argument("--sample", type=int, default=1 << 30, help="of each module")
    parser.add_argument("--at", action="append", help="only the mutants of FILE:LINE")
    given = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in ("tensorflow", "keras", "pytest", "hypothesis.strategies"):
        importlib.import_module(name)
    forking = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as folder,
        forking.Pool(2, in_a_copy, (folder,)) as pool,
    ):
        modules = given.module or MODULES
        fates = {name: tried(pool, name, given.sample, given.at) for name in modules}
    total = [end for of_module in fates.values() for end in of_module]
    for name, found in {**fates, "all": total}.items():
        survived = found.count("SURVIVED")
        score = 1 - survived / max(1, len(found))
        print(f"{name:10} {len(found) - survived} of {len(found)} killed, {score:.0%}")
    sys.exit(score < AT_LEAST)


if __name__ == "__main__":
    main()

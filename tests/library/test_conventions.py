"""What a user of any Python package expects of this one."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dlth_tf as dlth

ROOT = Path(__file__).parents[2]
ROOMS = ("callbacks", "litert", "network", "saliency", "step", "tfmot", "tickets")


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    attribute = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "dlth_tf.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", dlth.__version__)


@pytest.mark.parametrize("package", ["dlth_tf", "official"])
def test_type_checkers_may_read_it(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    files = project["tool"]["setuptools"]["package-data"][package]
    assert "py.typed" in files and all(any((ROOT / package).glob(name)) for name in files)


def test_type_checkers_find_the_same_names_at_the_same_homes():
    stub = ast.parse((ROOT / "dlth_tf/__init__.pyi").read_text())
    homes = {
        alias.name: node.module.removeprefix("dlth_tf.")
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == dlth._HOME
    (listed,) = (node.value for node in stub.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(listed) == dlth.__all__


def test_importing_the_package_loads_nothing_else():
    run(
        "import dlth_tf, sys; assert not {'keras', 'tensorflow', 'absl'} & {*sys.modules}"
    )


def test_what_flags_are_made_of_loads_no_keras():
    run(
        "import dlth_tf.callbacks.schedules, dlth_tf.tickets.distributions, sys;"
        "assert not {'keras', 'tensorflow'} & {*sys.modules}"
    )


def test_the_library_registers_no_flags():
    run(
        "import dlth_tf\n"
        "for name in dlth_tf.__all__: getattr(dlth_tf, name)\n"
        "from absl import flags\n"
        "modules = flags.FLAGS.flags_by_module_dict()\n"
        "assert not [name for name in modules if name.startswith('dlth_tf')]"
    )


def test_the_library_knows_neither_the_program_nor_official():
    for path in library():
        imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.M)
        for module in imported:
            room = module.removeprefix("dlth_tf.").split(".")[0]
            ours = not module.startswith("dlth_tf.") or is_library(room)
            assert ours and not module.startswith("official"), (path, module)


def test_the_library_needs_no_unix():
    alone = r"\b(fcntl|grp|pty|pwd|resource|termios|os\.(EX_|fork|kill|pread))\b"
    for path in library():
        assert not re.findall(alone, path.read_text()), path


def test_no_module_of_the_library_imports_itself_by_way_of_others():
    imports = {}
    for path in library():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found = re.findall(
            r"^\s*from ([\w.]+) import \(?([^)\n]*)", path.read_text(), re.M
        )
        imports[name.removesuffix(".__init__")] = {
            module
            for home, names in found
            for module in [home, *(f"{home}.{n.strip()}" for n in names.split(","))]
            if module.startswith("dlth_tf.")
        }
    graphlib.TopologicalSorter(imports).prepare()


def test_what_is_private_in_keras_is_used_in_one_module():
    for path in library():
        if path.name == "keras_internals.py":
            continue
        tree = ast.parse(path.read_text())
        private = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and re.match("_[a-z]", node.attr)
            and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        }
        # That of TFMOT's engine has its reason beside it.
        assert private <= {"_maybe_update_block_mask"}, path
        assert "keras.src" not in path.read_text(), path


def library() -> list[Path]:
    return [
        path
        for path in (ROOT / "dlth_tf").rglob("*.py")
        if is_library(path.relative_to(ROOT / "dlth_tf").parts[0].removesuffix(".py"))
    ]


def is_library(room: str) -> bool:
    alone = ("cost", "files", "keras_internals", "rebuilding", "regularizer")
    return room in (*ROOMS, *alone)

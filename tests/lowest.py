"""The lowest versions that pyproject.toml declares, for pip.

    python -m tests.lowest > lowest.txt

pytest and its like, which are not declared, are those of every day.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("pytest", "hypothesis", "sybil")


def asked_for(extra: str) -> list[str]:
    """What the library and one of its extras need, extras within it in full."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    own = [name for name in extras[extra] if name.startswith("dlth-tf[")]
    inner = [n for name in own for n in name[8:-1].split(",")]
    parts = [name for part in inner for name in extras[part]]
    return [*project["dependencies"], *parts, *(n for n in extras[extra] if n not in own)]


def main() -> None:
    for requirement in asked_for("program"):
        print(requirement.replace(">=", "==", 1))
    for requirement in (ROOT / "tests" / "requirements.txt").open():
        if requirement.startswith(TOOLS):
            print(requirement, end="")


if __name__ == "__main__":
    main()

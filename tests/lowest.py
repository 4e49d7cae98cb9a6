"""The lowest versions that pyproject.toml declares, for pip.

    python -m tests.lowest > lowest.txt

pytest and its like, which are not declared, are those of every day.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("pytest", "hypothesis", "sybil")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    program = project["optional-dependencies"]["program"]
    for requirement in [*project["dependencies"], *program]:
        print(requirement.replace(">=", "==", 1))
    for requirement in (ROOT / "tests" / "requirements.txt").open():
        if requirement.startswith(TOOLS):
            print(requirement, end="")


if __name__ == "__main__":
    main()

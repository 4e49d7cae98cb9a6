"""What faults cost, as a table: each is injected several times at random moments.

python -m tests.faults --times=3
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import mean

from tests.faults.faults import FAULTS, steps_lost, undisturbed

HEAD = ("fault", "times injected", "ended right", "steps lost: mean", "most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="how often each is injected")
    parser.add_argument("--chance", type=int, default=0, help="seed of the moments")
    names = [fault.__name__ for fault in FAULTS]
    parser.add_argument("--fault", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    rows = [HEAD, ("---",) * len(HEAD)]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        wholes = {}
        for fault, kind in FAULTS.items():
            if fault.__name__ not in given.fault:
                continue
            if kind not in wholes:
                wholes[kind] = undisturbed(kind, place / kind.__name__)
                print(f"Undisturbed: {wholes[kind].steps} steps", file=sys.stderr)
            chance = random.Random(f"{fault.__name__} {given.chance}")
            lost = []
            for number in range(given.times):
                trial = kind(place / f"{fault.__name__}{number}", chance, wholes[kind])
                try:
                    lost.append(steps_lost(fault, trial))
                except AssertionError as error:
                    print(f"{fault.__doc__}: {error}", file=sys.stderr)
            cost = (f"{mean(lost):.1f}", str(max(lost))) if lost else ("-", "-")
            rows.append((fault.__doc__, str(given.times), str(len(lost)), *cost))
            print(rows[-1], file=sys.stderr)
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()

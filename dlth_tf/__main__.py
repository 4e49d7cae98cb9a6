"""Lists the programs: `python -m dlth_tf`."""

import sys

PROGRAMS = {
    "train": "trains and compares sparse networks: from flags to a table",
    "report": "shows what an experiment came to, as a page or in the terminal",
    "export": "writes a finished run's network as a SavedModel, for Keras or LiteRT",
    "evaluate": "measures a SavedModel: accuracy, calibration, speed, sparsity",
    "demo": "shows in a browser how much faster a sparse network is",
}


def main(arguments: list[str]) -> int:
    print("dlth-NAME, or python -m dlth_tf.NAME; --help tells the flags of each:\n")
    for name, told in PROGRAMS.items():
        print(f"  dlth-{name:<9} {told}")
    print("\nTo begin with: dlth-train --flagfile=quickstart.flags")
    return 0 if {*arguments} <= {"-h", "--help"} else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

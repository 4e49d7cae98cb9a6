"""Shows what an experiment came to: a page to look at, or a table for a terminal.

    python -m dlth_tf.report --output_dir=runs/quickstart
    python -m dlth_tf.report --output_dir=runs/quickstart --text

The page is report.html in the experiment's folder, its drawings lie in figures/. It can
be made at any time: of an experiment half finished or damaged it shows what there is.
"""

import shutil
import sys

from absl import flags

from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.command_line import (
    FAILURE,
    USAGE,
    reject_arguments,
    say,
    show,
    start,
)

program_flags.register()
FLAGS = program_flags.FLAGS

flags.declare_key_flag("output_dir")
flags.DEFINE_bool(
    "text",
    False,
    "Print the comparison as a table with small charts instead, and write nothing.",
)


def main(argv: list[str]) -> int:
    from dlth_tf import reporting  # Takes its time, which --help must not.

    try:
        reject_arguments(argv)
        if FLAGS.text:
            columns = shutil.get_terminal_size().columns
            text = reporting.report_text(FLAGS.output_dir, columns)
            show(reporting.printable(text, sys.stdout.encoding or "utf-8"))
            return 0
        written = reporting.write_report(FLAGS.output_dir)
    except (ValueError, FileNotFoundError) as error:
        return say(error, USAGE)
    except (OSError, ImportError) as error:
        return say(error, FAILURE)
    for line in written.skipped:
        print(f"Passed over: {line}", file=sys.stderr)
    print(f"Report: {written.page} ({written.figures} figures in figures/)")
    return 0


if __name__ == "__main__":
    start(main)

"""Shows what an experiment came to: a page to look at, or a table for a terminal.

    dlth-report --output_dir=runs/quickstart
    dlth-report --output_dir=runs/quickstart --text

The page is report.html in the experiment's folder, its drawings lie in figures/. It can
be made at any time: of an experiment half finished or damaged it shows what there is.
"""

import shutil
import sys

from absl import flags

from dlth_tf.experiment import command_line
from dlth_tf.experiment import flags as program_flags

program_flags.register()
FLAGS = program_flags.FLAGS

flags.declare_key_flag("output_dir")
flags.declare_key_flag("plugins")
flags.DEFINE_bool(
    "text",
    False,
    "Print the comparison as a table with small charts instead, and write nothing.",
)


@command_line.ends_in_a_line
def main() -> None:
    from dlth_tf import reporting  # It takes its time, which --help must not.

    if FLAGS.text:
        columns, encoding = shutil.get_terminal_size().columns, sys.stdout.encoding
        text = reporting.report_text(FLAGS.output_dir, columns, encoding or "utf-8")
        command_line.show(text)
        return
    written = reporting.write_report(FLAGS.output_dir)
    for line in written.skipped:
        print(f"Passed over: {line}", file=sys.stderr)
    print(f"Report: {written.page} ({written.figures} figures in figures/)")


def run() -> None:
    """The program, with the command line's flags."""
    command_line.start(main)


if __name__ == "__main__":
    run()

"""Shows in a browser how much faster a sparse network is: a page with both in turns.

    dlth-demo --run=runs/fast/runs/rst-0.9-seed0 --output=page

writes a folder that needs no address outside it, and serves it to this machine. Without
--run it serves a folder that is there.
"""

import contextlib
from pathlib import Path

from absl import flags

from dlth_tf import export
from dlth_tf.browser import serving
from dlth_tf.experiment import command_line
from dlth_tf.experiment.results.results import FinishedRun
from official import data
from official.common import DEFINE_path

FLAGS = export.FLAGS

for of_export in ("data_dir", "plugins", "run", "output", "storage"):
    flags.declare_key_flag(of_export)
DEFINE_path(
    "dense",
    None,
    "Folder of the dense network's run. Default: the one of the same seed beside --run.",
)
flags.DEFINE_integer("images", 200, "How many test images the page has.", lower_bound=1)
flags.DEFINE_bool("serve", True, "Serve the page; without it only the folder is written.")
flags.DEFINE_string(
    "host", "127.0.0.1", "Address to serve to; 0.0.0.0 lets other machines in, a phone."
)
flags.DEFINE_integer(
    "port",
    8000,
    "Port to serve at, 0 for any free one.",
    lower_bound=0,
    upper_bound=65535,
)


@command_line.ends_in_a_line
def main() -> None:
    if not FLAGS.output:
        raise ValueError("--output is needed. See --help.")
    folder = Path(FLAGS.output)
    if FLAGS.run:
        _write(folder)
    elif not (folder / "demo.json").exists():
        raise ValueError(f"--run is needed: '{folder}' holds no page yet. See --help.")
    if FLAGS.serve:
        _serve(folder)


def _write(folder: Path) -> None:
    sparse = FinishedRun.read(FLAGS.run)
    dense = _dense_run(sparse)
    command_line.start_tensorflow_quietly()
    from dlth_tf.browser import demonstration

    data_dir = FLAGS.data_dir or sparse.row.flags.get("data_dir")
    images = data.load(
        sparse.task.dataset, data_dir=data_dir, image_size=sparse.task.image_size
    )
    runs = (dense, sparse)
    written = demonstration.write(folder, *runs, images, FLAGS.images, FLAGS.storage)
    for name, told in written.items():
        print(f"{name}: {told['bytes']['model.tflite']:,} bytes")
    print(f"{written['sparse']['litert']['report']}\n{folder / 'index.html'}", flush=True)


def _dense_run(sparse: FinishedRun) -> FinishedRun:
    if FLAGS.dense:
        return FinishedRun.read(FLAGS.dense)
    beside = sparse.folder.parent / f"dense-seed{sparse.row.seed}"
    try:
        return FinishedRun.read(beside)
    except FileNotFoundError as error:
        raise ValueError(
            f"--run is compared with a dense run, by default '{beside}', which is not "
            "there. Train it, with --method=dense, or name one by --dense."
        ) from error


def _serve(folder: Path) -> None:
    with serving.server(folder, FLAGS.host, FLAGS.port) as server:
        print(f"http://{FLAGS.host}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def run() -> None:
    """The program, with the command line's flags."""
    command_line.start(main)


if __name__ == "__main__":
    run()

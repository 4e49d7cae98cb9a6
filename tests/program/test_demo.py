"""A page with a dense and a sparse network: what lies in its folder, what it finds."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver

from benchmarks.chromium import report_of
from dlth_tf import demo as program
from dlth_tf.browser import serving
from dlth_tf.litert.running import LiteRTFile
from tests.official.prepared import write_images
from tests.program.conftest import Outcome
from tests.program.synthetic import experiment

NPM = """#!/bin/sh
mkdir -p node_modules/@litertjs/core/wasm node_modules/@litertjs/core/dist
mkdir -p node_modules/@litertjs/wasm-utils/dist
cd node_modules/@litertjs
touch core/dist/index.js wasm-utils/dist/index.js
for file in litert_wasm_internal litert_wasm_compat_internal; do
  touch core/wasm/$file.js core/wasm/$file.wasm
done
"""
IMAGES = 40


def install(folder: Path, script: str) -> str:
    """Puts an npm first on the path that it returns."""
    folder.mkdir()
    (folder / "npm").write_text(script)
    (folder / "npm").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.fixture(scope="module")
def runs(train_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    assert train_once("--method=dense,scratch", f"--output_dir={folder}").code == 0
    return folder / "runs"


def code_of(*arguments: str) -> int:
    """Runs the program in this process."""
    with flagsaver.flagsaver():
        program.flags.FLAGS(["demo", *arguments])
        return program.main(["demo"])


@pytest.fixture
def demo(capfd):
    def run(*arguments: str) -> Outcome:
        code = code_of(*arguments)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", install(folder / "bin", NPM))
        run, output = f"--run={runs}/scratch-0.9-seed0", f"--output={folder}/page"
        assert code_of(run, output, f"--images={IMAGES}", "--noserve") == 0
    return folder / "page"


def logits_of_keras(page: Path, side: str) -> np.ndarray:
    classes = len(json.loads((page / side / "metadata.json").read_text())["classes"])
    return np.fromfile(page / side / "outputs.bin", "<f4").reshape(-1, classes)


def test_the_folder_has_images_and_what_keras_makes_of_them(page):
    told = json.loads((page / "demo.json").read_text())
    pixels = np.fromfile(page / "images.bin", np.uint8)
    images = pixels.reshape(IMAGES, *told["shape"]).astype(np.float32)
    assert len(told["labels"]) == IMAGES
    for side in ("dense", "sparse"):
        expected = logits_of_keras(page, side)
        file = LiteRTFile((page / side / "model.tflite").read_bytes())
        np.testing.assert_allclose(file(images)["logits"], expected, rtol=0, atol=1e-4)
        right = np.mean(expected.argmax(axis=1) == told["labels"])
        metadata = json.loads((page / side / "metadata.json").read_text())
        assert right == pytest.approx(metadata["accuracy"]["top1"], abs=0.25)
    assert json.loads((page / "dense" / "metadata.json").read_text())["method"] == "dense"


def test_the_page_needs_no_address_outside_its_folder(page):
    texts = {path: path.read_text() for path in page.iterdir() if path.suffix in SOURCES}
    assert {path.suffix for path in texts} == SOURCES
    for text in texts.values():
        assert not re.search(r"https?:|[\"(]//", text)
        for path in re.findall(r"[\"(](\.?/?[\w/-]+\.(?:js|css|json|bin))[\")]", text):
            assert (page / path).exists(), path
    assert (page / "litert" / "core" / "wasm" / "litert_wasm_internal.wasm").exists()


SOURCES = {".html", ".css", ".js"}


def test_it_is_served_as_browsers_want_it(page):
    with serving.server(page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        wasm = f"{address}/litert/core/wasm/litert_wasm_internal.wasm"
        for path, kind in ((wasm, "application/wasm"), (f"{address}/", "text/html")):
            with urllib.request.urlopen(path) as response:
                assert response.headers["Content-Type"].startswith(kind)
                assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        server.shutdown()


def test_a_page_that_is_there_is_served_unless_its_port_is_taken(demo, page):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = demo(f"--output={page}", f"--port={port}")
    assert outcome.code == 1
    assert f"Port {port} of 127.0.0.1 can't be had" in only_line(outcome.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run={sparse}"], "--output is needed"),
        (["--output={new}"], "--run is needed: "),
        (["--run={sparse}x", "--output={new}"], "scratch-0.9-seed0"),
        (["--run={sparse}", "--output={sparse}"], "is there already"),
        (["--run={alone}", "--output={new}"], "Train it, with --method=dense, or name"),
        (
            ["--run={sparse}", "--dense={other}", "--output={new}"],
            "one network and one data set. Received: quickstart_cnn on digits, resnet20",
        ),
    ],
)
def test_bad_values_end_in_one_line(demo, runs, tmp_path, arguments, words):
    for name in ("alone", "other"):
        experiment(
            tmp_path / name, seeds=(0,), without=("dense-seed0",) * (name[0] == "a")
        )
    task = {"task": {"network": "resnet20", "dataset": "digits"}}
    (tmp_path / "other" / "experiment.json").write_text(json.dumps(task))
    places = {
        "sparse": runs / "scratch-0.9-seed0",
        "alone": tmp_path / "alone" / "runs" / "rst-0.9-seed0",
        "other": tmp_path / "other" / "runs" / "dense-seed0",
        "new": tmp_path / "new",
    }
    outcome = demo(*(argument.format(**places) for argument in arguments))
    assert outcome.code == 2
    assert words in only_line(outcome.err)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "npm, which is not installed"),
        ("#!/bin/sh\necho no such version >&2\nexit 1", "core@2.5.3: no such version"),
    ],
)
def test_without_npm_it_says_what_is_missing(
    demo, runs, tmp_path, monkeypatch, script, words
):
    path = install(tmp_path / "bin", script) if script else str(tmp_path)
    monkeypatch.setenv("PATH", path)
    run = f"--run={runs / 'scratch-0.9-seed0'}"
    outcome = demo(run, f"--output={tmp_path}/new")
    assert outcome.code == 1
    assert words in only_line(outcome.err)
    assert not (tmp_path / "new").exists()


def test_help_and_usage_errors_need_no_tensorflow():
    code = "import sys, dlth_tf.demo; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def only_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def page_of_colours(train_once, tmp_path_factory):
    """A page of a network that XNNPACK's sparse path takes, with LiteRT.js."""
    for needed in ("npm", "chromium"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("colours")
    chance = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        for split, number in (("train", 90), ("test", 70)):
            images = chance.integers(0, 200, (number, 32, 32, 3), np.uint8)
            images[..., channel] += np.uint8(20)
            write_images(folder / "images" / split / name, images)
    trained = train_once(
        *("--method=dense,scratch", "--layers=xnnpack", "--model=mobilenetv1-0.25"),
        *(f"--dataset=folder:{folder}/images", f"--output_dir={folder}/runs"),
        "--epochs=6",
    )
    assert trained.code == 0
    run = f"--run={folder}/runs/runs/scratch-0.9-seed0"
    assert code_of(run, f"--output={folder}/page", "--noserve") == 0
    return folder / "page"


@pytest.mark.long
def test_a_browser_computes_what_keras_does(page_of_colours, capsys):
    report = report_of(page_of_colours, seconds=120)
    assert "error" not in report, report
    labels = np.array(json.loads((page_of_colours / "demo.json").read_text())["labels"])
    for side in ("dense", "sparse"):
        found, expected = report[side], logits_of_keras(page_of_colours, side)
        outputs = np.array(found["outputs"])
        assert outputs.shape == (200, 3)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * largest)
        right = np.mean(np.array(found["predicted"]) == labels)
        assert right == np.mean(expected.argmax(axis=1) == labels)
        assert len(found["times"]) == 200
    low, median, high = report["factors"]
    with capsys.disabled():
        print(f"\nsparse, in Chromium: {median:.2f}x as fast ({low:.2f} to {high:.2f})")


@pytest.mark.long
def test_a_browser_that_computes_something_else_shows_no_time(page_of_colours, tmp_path):
    page = tmp_path / "page"
    shutil.copytree(page_of_colours, page)
    outputs = np.fromfile(page / "sparse" / "outputs.bin", "<f4")
    outputs[-1] += np.abs(outputs).max()
    outputs.tofile(page / "sparse" / "outputs.bin")
    report = report_of(page, seconds=120)
    assert "differs from Keras: sparse, image 200" in report["error"]
    assert report["error"] in report["shown"]
    assert "as fast" not in report["shown"] and "ms (" not in report["shown"]

"""The report: what its page says, of experiments in every state."""

import dataclasses
import json
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from absl.testing import flagsaver

from dlth_tf import report as program
from dlth_tf import reporting
from dlth_tf.experiment.results.comparison import Comparison, fitting, table
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting import accuracy_figures, report_text, write_report
from dlth_tf.reporting.drawing import styles
from dlth_tf.reporting.records import read_experiment
from dlth_tf.reporting.terminal import printable
from tests.program import synthetic
from tests.program.conftest import ROOT, results_in

_VOID = {"meta", "link", "br", "img", "hr"}
_SVG = "{http://www.w3.org/2000/svg}"
_DESCRIPTION = ".//{http://purl.org/dc/elements/1.1/}description"


class Page(HTMLParser):
    """What a reader, and what a browser, finds in a page."""

    def __init__(self, markup: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.described: dict[str, str] = {}
        self.cells: dict[str, str] = {}
        self.words = ""
        self.headings: list[str] = []
        self._open: list[str] = []
        self._target: str | None = None
        self.feed(markup)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self._target = attributes["href"]
            self.links.append(self._target)
        self.loaded += [v for k, v in attrs if k in ("src", "data", "srcset")]
        self.loaded += [attributes["href"]] if tag == "link" else []
        if tag == "img":
            self.described[attributes["id"]] = attributes["alt"]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "a":
            self._target = None

    def handle_startendtag(self, tag, attrs):
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_data(self, data):
        if not {"style", "svg"} & set(self._open):
            self.words += data
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if self._target:
            self.cells[self._target] = data


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def report(capfd):
    """Runs the program in this process."""

    def run(*arguments: str) -> Outcome:
        with flagsaver.flagsaver():
            program.flags.FLAGS(["report", *arguments])
            code = program.main(["report"])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def page_in(folder: Path) -> Page:
    return Page((folder / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment whose runs are all there, with its report."""
    folder = tmp_path_factory.mktemp("finished")
    synthetic.experiment(folder)
    write_report(folder)
    return folder


def test_a_terminal_of_80_columns_shows_it_unbroken(finished):
    heading, *_ = report_text(finished, 80).partition("\n\n")
    assert max(map(len, heading.splitlines())) <= 80
    text = table(read_experiment(finished).runs)
    shown = fitting(text, 80).splitlines()
    assert max(map(len, shown)) <= 80 and len(shown) == len(text.splitlines())
    assert "|" not in fitting(text, 80) and fitting(text, 200) == text
    accuracies = re.findall(r"\d\d\.\d\d ± \d\.\d\d", text)
    assert accuracies and re.findall(r"\d\d\.\d\d ± \d\.\d\d", str(shown)) == accuracies


def test_a_users_program_keeps_its_flags_to_itself(finished):
    code = (
        "import sys; from absl import flags; from dlth_tf.reporting import write_report; "
        "flags.DEFINE_integer('seed', 1, 'Mine.'); before = set(flags.FLAGS); "
        "write_report(sys.argv[1]); sys.exit(', '.join(set(flags.FLAGS) - before) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, finished], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_table_has_the_numbers_of_the_results(finished):
    runs: dict[str, list[float]] = {}
    for result in results_in(finished):
        key = result["method"]
        key += f"-{result['sparsity']:g}" if key != "dense" else ""
        runs.setdefault(f"#run-{key}", []).append(100 * result["test_accuracy"])
    cells = page_in(finished).cells
    assert len(runs) == 7
    for link, values in runs.items():
        mean, spread = statistics.mean(values), statistics.stdev(values)
        assert cells[link] == f"{mean:.2f} ± {spread:.2f}"


def test_links_lead_to_one_place_each_and_nothing_is_loaded(finished):
    page = page_in(finished)
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert all(address.startswith("data:image/svg") for address in page.loaded)
    markup = (finished / "report.html").read_text("utf-8")
    assert not re.search(r"@import|url\((?!#)", markup)


def test_every_figure_is_a_drawing_with_a_description(finished):
    names = {path.stem for path in (finished / "figures").glob("*.svg")}
    assert names == {
        "accuracy-over-sparsity",
        *(f"accuracy-at-{s}" for s in ("0.5", "0.9")),
        *(f"accuracy-over-cost-{s}" for s in ("0.5", "0.9")),
        *(f"extrusion-rst-{s}" for s in ("0.5", "0.9")),
        *("weights-scratch-0.9", "weights-l1-0.9", "weights-rst-0.5", "weights-rst-0.9"),
        *(f"sparsity-per-layer-{s}" for s in ("0.5", "0.9")),
        *(f"learning-{m}" for m in ("dense", "scratch", "l1", "rst")),
    }
    page = page_in(finished)
    for path in (finished / "figures").glob("*.svg"):
        drawing = ET.parse(path).getroot()
        title, description = drawing.find(f"{_SVG}title"), drawing.find(_DESCRIPTION)
        assert len(description.text) > 40
        assert page.described[path.stem] == f"{title.text}. {description.text}"


def test_the_description_of_a_figure_tells_its_numbers(finished):
    drawing = ET.parse(finished / "figures/accuracy-at-0.9.svg").getroot()
    description = drawing.find(_DESCRIPTION).text
    for link in ("#run-rst-0.9", "#run-scratch-0.9", "#run-dense"):
        assert page_in(finished).cells[link] in description


def test_a_cell_leads_to_its_settings_and_command(finished):
    markup = (finished / "report.html").read_text("utf-8")
    section = markup.split('id="run-l1-0.9"')[1].split("</section>")[0]
    assert "--method=l1" in section
    assert "--sparsity=0.9" in section
    assert "--seed=0,1" in section
    assert f"--epochs={synthetic.EPOCHS}" in section
    assert "pretrain l1 0.9 seed0" in section


def test_a_cell_tells_what_each_layer_costs(finished):
    markup = (finished / "report.html").read_text("utf-8")
    section = markup.split('id="run-l1-0.9"')[1].split("</section>")[0]
    assert "Multiply-adds for one image, zeros skipped: 1,923 of 18,512." in section
    layer = [">288<", ">29<", ">18,432<", ">1,843<"]
    places = [section.index(cell, section.index(">body<")) for cell in layer]
    assert places == sorted(places)


def test_page_names_no_path_of_the_machine(finished):
    markup = (finished / "report.html").read_text("utf-8")
    for path in (str(finished), "/nowhere", "/elsewhere"):
        assert path not in markup


def test_finished_experiment_lacks_nothing(finished):
    page = page_in(finished)
    assert "None is missing." in page.words
    assert "What is missing" not in page.headings


def test_same_results_make_the_same_page(finished):
    before = (finished / "report.html").read_bytes()
    write_report(finished)
    assert (finished / "report.html").read_bytes() == before


def test_half_finished_sweep_says_what_is_missing(report, tmp_path):
    lost = ("rst-0.9-seed0", "rst-0.9-seed1", "l1-0.5-seed1")
    synthetic.experiment(tmp_path, without=lost)
    synthetic.begun(tmp_path, "transform-initial-weights-seed-0", epochs=7)
    outcome = report(f"--output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    page = page_in(tmp_path)
    assert "3 more were asked for." in page.words
    assert "rst-0.9: seed 0, 1" in page.words
    assert "l1-0.5: seed 1" in page.words
    assert "transform initial weights seed 0 (7 epochs done)" in page.words
    assert "n = 1 of 2" in page.words
    assert "#run-rst-0.9" not in page.cells
    assert "±" not in page.cells["#run-l1-0.5"]
    assert (tmp_path / "figures/extrusion-rst-0.5.svg").exists()
    assert not (tmp_path / "figures/extrusion-rst-0.9.svg").exists()


def test_nothing_finished_yet_is_a_page_too(report, tmp_path):
    synthetic.begun(tmp_path, "train-the-dense-network", epochs=1)
    assert report(f"--output_dir={tmp_path}").code == 0
    page = page_in(tmp_path)
    assert "No run is finished yet." in page.words
    assert "train the dense network (1 epoch done)" in page.words


def test_damaged_files_are_named_and_the_rest_is_shown(report, tmp_path):
    synthetic.experiment(tmp_path)
    _tear(tmp_path / "runs/rst-0.9-seed0/result.json")
    _tear(tmp_path / "stages/finetune-rst-0.5-seed0-0123456789abcdef/weights.npz")
    _tear(tmp_path / "stages/finetune-l1-0.9-seed0-0123456789abcdef/stage.json")
    outcome = report(f"--output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    for words in (page_in(tmp_path).words, outcome.err):
        assert "runs/rst-0.9-seed0/result.json: damaged" in words
        assert "results.jsonl has it and was used" in words
        assert "finetune-rst-0.5-seed0-0123456789abcdef/weights.npz: unreadable" in words
        assert "finetune-l1-0.9-seed0-0123456789abcdef/stage.json: damaged" in words
    assert "None is missing." in page_in(tmp_path).words
    weights = (tmp_path / "figures/weights-rst-0.5.svg").read_text("utf-8")
    assert "seed 1" in weights


def test_run_lost_in_both_its_files_is_missing(report, tmp_path):
    synthetic.experiment(tmp_path)
    _tear(tmp_path / "runs/rst-0.9-seed0/result.json")
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    torn = [line[:99] if "rst-0.9-seed0" in line else line for line in lines]
    (tmp_path / "results.jsonl").write_text("\n".join(torn))
    assert report(f"--output_dir={tmp_path}").code == 0
    words = page_in(tmp_path).words
    assert "rst-0.9: seed 0" in words
    assert re.search(r"results.jsonl: line \d+ is damaged", words)


def test_results_alone_are_enough(report, tmp_path, finished):
    (tmp_path / "results.jsonl").write_bytes((finished / "results.jsonl").read_bytes())
    assert report(f"--output_dir={tmp_path}").code == 0
    ours, theirs = page_in(tmp_path).cells, page_in(finished).cells
    assert ours["#run-rst-0.9"] == theirs["#run-rst-0.9"]


def test_results_that_say_little_are_shown(report, tmp_path):
    little = {"method": "mine <b>", "sparsity": 0.5, "seed": 3, "test_accuracy": 0.75}
    wrong = {**little, "seed": 4, "test_accuracy": None}
    for result in (little, wrong):
        folder = tmp_path / "runs" / f"seed{result['seed']}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
    assert report(f"--output_dir={tmp_path}").code == 0
    page = page_in(tmp_path)
    (link,) = (link for link, text in page.cells.items() if text == "75.00")
    assert link.removeprefix("#") in page.ids
    assert "mine <b> at sparsity 0.5" in page.headings
    assert "runs/seed4/result.json: damaged (its test_accuracy is None)" in page.words


def test_a_figure_that_fails_is_noted_and_the_others_are_drawn(
    report, tmp_path, monkeypatch
):
    def fail(*arguments):
        raise OverflowError("too far")

    monkeypatch.setattr(accuracy_figures, "over_cost", fail)
    synthetic.experiment(tmp_path)
    assert report(f"--output_dir={tmp_path}").code == 0
    page = page_in(tmp_path)
    assert "A figure of 0.9 could not be drawn: OverflowError('too far')" in page.words
    assert (tmp_path / "figures/accuracy-at-0.9.svg").exists()


@pytest.mark.parametrize(
    ("others", "close"),
    [
        ([0.90, 0.90, 0.90], True),
        ([0.80, 0.80, 0.80], False),
        ([0.60, 0.99, 0.70], True),
        ([0.70], False),
        ([0.899], True),
    ],
)
def test_close_is_what_neither_the_seeds_nor_the_test_images_tell_apart(others, close):
    given = {"l1": [0.90, 0.90, 0.90], "rst": others}
    runs = [
        Row.parse(
            {"method": method, "sparsity": 0.9, "seed": seed, "test_accuracy": accuracy}
            | {"test_images": 10_000},
        )
        for method, accuracies in given.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    l1, rst = Comparison(runs).cells
    assert l1.close_to(rst) == rst.close_to(l1) == close


def test_many_methods_look_different():
    look = styles([f"method{number}" for number in range(18)])
    marks = [(s["color"], s["marker"], s["mfc"]) for s in look.values()]
    assert len(look) >= 18
    assert len(set(marks)) == len(marks)
    assert look["rst"] == styles(["rst", "dense"])["rst"]


def test_text_has_the_same_numbers_and_writes_nothing(report, tmp_path, finished):
    synthetic.experiment(tmp_path, without=("rst-0.9-seed1",))
    before = sorted(tmp_path.rglob("*"))
    outcome = report(f"--output_dir={tmp_path}", "--text")
    assert outcome.code == 0
    assert sorted(tmp_path.rglob("*")) == before
    cells = page_in(finished).cells
    (line,) = [n for n in outcome.out.split("sparsity 0.9")[1].splitlines() if "l1" in n]
    assert cells["#run-l1-0.9"] in line
    assert "●" in line
    assert "rst-0.9: seed 1" in outcome.out


def test_text_fits_a_terminal_without_unicode():
    assert printable("├─●─┤ 97.1 ± 0.2", "ascii") == "|-o-| 97.1 + 0.2"


@pytest.mark.parametrize("content", [None, "thesis.tex"])
def test_folder_without_results_is_one_line(report, tmp_path, content):
    folder = tmp_path / "folder"
    if content:
        folder.mkdir()
        (folder / content).write_text("x")
    outcome = report(f"--output_dir={folder}")
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("Error: --output_dir")
    assert str(folder) in line


def test_help_needs_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys, dlth_tf.report, dlth_tf.train;"
        "sys.exit(bool({'keras', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    asked = [sys.executable, "-m", "dlth_tf.report", "--help"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--output_dir" in done.stdout
    assert "--[no]text" in done.stdout


def test_training_ends_with_a_report(train, tmp_path):
    outcome = train(f"--output_dir={tmp_path}", "--method=scratch,rst", "--report")
    assert outcome.code == 0, outcome.err
    assert f"Report: {tmp_path}/report.html" in outcome.err
    page = page_in(tmp_path)
    for result in results_in(tmp_path):
        link = f"#run-{result['method']}-0.9"
        assert page.cells[link] == f"{100 * result['test_accuracy']:.2f}"
    for name in ("extrusion-rst-0.9", "weights-rst-0.9", "sparsity-per-layer-0.9"):
        assert (tmp_path / "figures" / f"{name}.svg").exists()


def test_a_report_that_fails_loses_no_results(train, tmp_path, monkeypatch):
    def fail(output_dir):
        raise RuntimeError("no ink")

    monkeypatch.setattr(reporting, "write_report", fail)
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--report")
    assert outcome.code == 0
    assert "The report could not be written: RuntimeError('no ink')" in outcome.err
    assert len(results_in(tmp_path)) == 1


def _tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

"""The page about trained networks, shortened; whole it is one of the long examples."""

import re
from pathlib import Path

import dlth_tf as dlth

ROOT = Path(__file__).parents[2]


def ran(page: str, blocks: int | None, **constants: int) -> dict:
    """What the names in a page's first blocks stand for once these have run."""
    text = (ROOT / "docs" / page).read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[:blocks])
    (line,) = re.findall(r"^(EPOCHS, .*) = (.*)$", code, re.M)
    names, values = (part.split(", ") for part in line)
    told = dict(zip(names, values, strict=True)) | constants
    changed = f"{line[0]} = {', '.join(str(told[name]) for name in names)}"
    namespace: dict = {}
    exec(code.replace(" = ".join(line), changed), namespace)
    return namespace


def test_what_was_extruded_of_a_trained_network_is_not_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ran("pretrained.md", -1, EPOCHS=6)
    model, accuracy = page["model"], page["accuracy"]
    assert (tmp_path / "small.keras").exists()
    assert page["small"].count_params() < model.count_params() / 4
    before_finetuning = dlth.shrink(model, page["ticket"])
    assert accuracy(before_finetuning) > accuracy(model) - 5

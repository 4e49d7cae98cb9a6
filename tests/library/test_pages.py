"""The examples of pages for users of `fit`, run as they stand, for an epoch or two."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def ran(page: str, **constants: int) -> dict:
    """What the names in a page's examples stand for once they have run."""
    text = (ROOT / "docs" / page).read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    (line,) = re.findall(r"^(EPOCHS, .*) = (.*)$", code, re.M)
    names, values = (part.split(", ") for part in line)
    told = dict(zip(names, values, strict=True)) | constants
    changed = f"{line[0]} = {', '.join(str(told[name]) for name in names)}"
    namespace: dict = {}
    exec(code.replace(" = ".join(line), changed), namespace)
    return namespace


def test_heads_and_hidden_units_go():
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    text = (ROOT / "docs" / "structured_tickets.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    exec("\n".join(blocks), {"__name__": "page"})


def test_a_transformer_is_transformed_in_both_forms():
    found = ran("adaptive_optimizers.md", EPOCHS=1, SEEDS=2)["found"]
    assert found.shape == (2, 3) and np.isfinite(found).all()


def test_a_smaller_network_comes_from_a_trained_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ran("pretrained.md", EPOCHS=4, SEEDS=1)
    assert page["small"].count_params() < page["model"].count_params() / 4
    assert (tmp_path / "small.keras").exists()
    for at_once, extruded in page["table"][0, 1:].reshape(3, 2, 3):
        assert extruded[2] == at_once[2]
        assert extruded[0] > at_once[0] + 20

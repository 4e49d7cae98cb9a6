"""Folders of experiments that never ran: the files of one, with numbers made up."""

import hashlib
import json
from pathlib import Path

import numpy as np

EPOCHS = 3
_KERNELS = {"stem": (3, 3, 1, 4), "body": (3, 3, 4, 8), "head": (8, 10)}


def experiment(
    folder: Path,
    methods=("dense", "scratch", "l1", "rst"),
    sparsities=(0.5, 0.9),
    seeds=(0, 1),
    without=(),
) -> list[dict]:
    """Writes an experiment's folder, less the runs `without`; returns its results."""
    flags = {
        "output_dir": "/nowhere",
        "method": list(methods),
        "sparsity": [str(s) for s in sparsities],
        "seed": [str(s) for s in seeds],
        "dataset": "digits",
        "model": "quickstart_cnn",
        "epochs": EPOCHS,
        "report": True,
        "export": False,
    }
    results = []
    for seed in seeds:
        for method in methods:
            for sparsity in sparsities if method != "dense" else (0.0,):
                result = _result(folder, method, sparsity, seed, flags)
                if Path(result["run"]).name not in without:
                    results.append(result)
                    _write(folder / "runs" / Path(result["run"]).name, "result", result)
    lines = [json.dumps(result) + "\n" for result in results]
    (folder / "results.jsonl").write_text("".join(lines))
    shared = {"task": {"network": "quickstart_cnn", "dataset": "digits"}}
    _write(folder, "experiment", shared)
    return results


def begun(folder: Path, title: str, epochs: int) -> None:
    """A stage of which so many epochs are done."""
    stage = folder / "stages" / f"{title}-0123456789abcdef"
    stage.mkdir(parents=True)
    np.savez(stage / "checkpoint-a.npz", progress=json.dumps({"epoch": epochs}))


def _result(folder: Path, method: str, sparsity: float, seed: int, flags: dict) -> dict:
    name = (
        f"{method}-seed{seed}"
        if method == "dense"
        else (f"{method}-{sparsity:g}-seed{seed}")
    )
    random = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
    phases = {"l1": ["pretrain"], "rst": ["transform"]}.get(method, [])
    return {
        "method": method,
        "sparsity": sparsity,
        "seed": seed,
        "test_accuracy": 0.98 - 0.05 * sparsity + 0.01 * random.random(),
        "test_top5": 1.0,
        "test_images": 450,
        "train_images": 1000 * (1 + len(phases)),
        "train_cost": 1.0 + len(phases),
        "seconds": 1.5,
        "train_flops_cost": 0.5 + len(phases),
        "parameters_left": 404.0 - 288 * sparsity,
        "dense_parameters": 404,
        "multiply_adds_left": 18_512.0 - 18_432 * sparsity,
        "dense_multiply_adds": 18_512,
        "layers": [
            {
                "name": "body",
                "parameters": 288,
                "parameters_left": 288 * (1 - sparsity),
                "multiply_adds": 18_432,
                "multiply_adds_left": 18_432 * (1 - sparsity),
            }
        ],
        "weights_left": 1.0 - sparsity,
        "sparsity_per_layer": {"stem": 0.0, "body": sparsity, "head": 0.0}
        if sparsity
        else {},
        "history": {p: _history(p) for p in [*phases, "finetune"]},
        "stages": _stages(
            folder, name, ["initial", *phases, "finetune"], sparsity, random
        ),
        "run": f"/elsewhere/{name}",
        "flags": flags,
        "versions": {"python": "3.11", "keras": "3.15"},
    }


def _history(phase: str) -> list[dict]:
    epochs = [
        {"loss": 2.0 / (e + 1), "accuracy": 1.0 - 0.5 / (e + 1)} for e in range(EPOCHS)
    ]
    if phase == "transform":
        for place, epoch in enumerate(epochs, 1):
            epoch |= {
                "penalty": place / EPOCHS,
                "kept_magnitude": 0.1,
                "removed_magnitude": 0.1 / (1 + place),
            }
    return epochs


def _stages(folder: Path, run: str, titles, sparsity: float, random) -> list[str]:
    paths = []
    for title in titles:
        path = folder / "stages" / f"{title}-{run}-0123456789abcdef"
        path.mkdir(parents=True, exist_ok=True)
        weights = {
            f"{name}/kernel": random.normal(size=shape).astype("float32")
            for name, shape in _KERNELS.items()
        }
        if title == "finetune" and sparsity:
            kernel = weights["body/kernel"].ravel()
            kernel[: int(np.ceil(sparsity * kernel.size))] = 0.0
        np.savez(path / "weights.npz", **weights)
        _write(path, "stage", {"steps": 30, "images": 960})
        paths.append(f"/elsewhere/stages/{path.name}")
    return paths


def _write(folder: Path, name: str, content: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))

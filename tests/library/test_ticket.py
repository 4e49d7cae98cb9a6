"""Tickets: drawn, written, read, and refused where they do not fit."""

import lzma
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy

import dlth_tf as dlth
from tests.library.models import KINDS, functional, sequential

_SAME_EVERYWHERE = """
import hashlib, sys, keras, numpy as np
import dlth_tf as dlth
from tests.library.models import KINDS
for _ in range(int(sys.argv[1])):
    keras.layers.Dense(1), keras.layers.Conv2D(1, 1), keras.Sequential(), keras.Model()
for kind in sorted(KINDS):
    ticket = dlth.random_ticket(KINDS[kind](), 0.8, seed=7)
    for name, mask in ticket.masks.items():
        print(kind, name, hashlib.sha256(np.packbits(mask).tobytes()).hexdigest())
"""


def _in_another_process(layers_before: int, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _SAME_EVERYWHERE, str(layers_before)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_ticket_is_the_same_in_every_process():
    first = _in_another_process(0, hash_seed="1")
    assert len(first.splitlines()) == 12
    assert _in_another_process(5, hash_seed="2") == first


def test_a_ticket_depends_on_the_seed():
    first, second = (dlth.random_ticket(sequential(), 0.5, seed=s) for s in (0, 1))
    for name, mask in first.masks.items():
        assert (mask != second.masks[name]).any()


def test_kernels_of_one_shape_have_masks_of_their_own():
    model = keras.Sequential(
        [keras.Input((20,)), keras.layers.Dense(20), keras.layers.Dense(20)]
    )
    first, second = dlth.random_ticket(model, 0.5, seed=0).masks.values()
    assert 0.3 < (first == second).mean() < 0.7


def test_sparsity_by_pattern():
    ticket = dlth.random_ticket(functional(), {"conv*": 0.75, "dense_1": 0.5}, seed=0)
    assert ticket.sparsity_per_kernel() == {
        "dense": 0.0,
        "dense_1": 0.5,
        "conv2d": 0.75,
        "dense_2": 0.0,
    }


def test_tickets_of_the_same_names_and_masks_are_equal():
    ticket, again = (dlth.random_ticket(sequential(), 0.5, seed=0) for _ in range(2))
    assert ticket == again and hash(ticket) == hash(again) and len({ticket, again}) == 1
    assert ticket != dlth.random_ticket(sequential(), 0.5, seed=1)
    renamed = dlth.Ticket({f"other_{name}": mask for name, mask in ticket.masks.items()})
    assert ticket != renamed
    assert ticket != dlth.Ticket(dict(list(ticket.masks.items())[1:]))
    assert ticket != ticket.masks


def test_a_ticket_is_shown_in_one_line():
    ticket = dlth.Ticket({"a": np.eye(40, dtype=bool), "b/bias": np.ones(40, bool)})
    assert repr(ticket) == "<Ticket: 1 kernels, 1,600 weights, sparsity 0.975>"
    assert repr(dlth.Ticket({})) == "<Ticket: 0 kernels, 0 weights, sparsity 0>"


@pytest.mark.parametrize("draw", [dlth.magnitude_ticket, dlth.random_ticket])
def test_bad_sparsity_is_named(draw):
    more = {"seed": 0} if draw is dlth.random_ticket else {}
    with pytest.raises(ValueError, match=r"must be in \[0, 1\). Received: 1.2"):
        draw(sequential(), 1.2, **more)
    with pytest.raises(ValueError, match="'stage\\*' matches no kernel"):
        draw(sequential(), {"stage*": 0.5}, **more)


@pytest.mark.every_backend
def test_a_magnitude_ticket_keeps_the_largest():
    model = sequential()
    ticket = dlth.magnitude_ticket(model, 0.6)
    for _, kernel, mask in ticket.pairs(model):
        magnitudes = np.abs(keras.ops.convert_to_numpy(kernel))
        assert magnitudes[~mask].max() <= magnitudes[mask].min()


def of_scores(change):
    """A ticket by random scores in which something was changed."""
    model = sequential()
    shapes = {name: k.shape for name, k in dlth.maskable_kernels(model).items()}
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return dlth.highest_ticket(model, dlth.Global(0.5), change(scores))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: dict(list(s.items())[1:]),
            "It has none for 'dense', only for dense_1",
        ),
        (lambda s: {n: v.ravel() for n, v in s.items()}, r"'dense' must have the kern"),
        (lambda s: {n: v * np.nan for n, v in s.items()}, "'dense' must have numbers"),
    ],
)
def test_scores_that_fit_no_kernel_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        of_scores(change)


def test_scores_may_be_whole_numbers():
    ticket = of_scores(lambda scores: {n: (9 * v).astype(int) for n, v in scores.items()})
    assert ticket.sparsity == pytest.approx(0.5, abs=1e-2)


def test_an_earlier_ticket_that_empties_a_kernel_is_named():
    model = sequential()
    masks = dict(dlth.random_ticket(model, 0.5, seed=0).masks)
    name = next(iter(masks))
    masks[name] = np.zeros_like(masks[name])
    earlier = dlth.Ticket(masks)
    with pytest.raises(ValueError, match=f"keeps nothing of '{name}'"):
        dlth.random_ticket(model, dlth.Global(0.9), seed=1, within=earlier)


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_within_a_ticket_that_removes_nothing_the_draw_is_the_same(unit):
    whole = dlth.random_ticket(functional(), 0.0, seed=0, unit=unit)
    within = dlth.random_ticket(functional(), 0.5, seed=0, within=whole, unit=unit)
    ticket = dlth.random_ticket(functional(), 0.5, seed=0, unit=unit)
    for name, mask in ticket.masks.items():
        np.testing.assert_array_equal(within.masks[name], mask)


@pytest.mark.every_backend
def test_apply_sets_removed_weights_to_zero_and_no_other():
    model = sequential()
    before = [w.copy() for w in model.get_weights()]
    ticket = dlth.random_ticket(model, 0.6, seed=0)
    ticket.apply(model)
    masks = list(ticket.masks.values())
    for i, (old, new) in enumerate(zip(before, model.get_weights(), strict=True)):
        mask = masks[i // 2] if i % 2 == 0 else True
        np.testing.assert_array_equal(new, np.where(mask, old, 0.0))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_saved_ticket_is_read_back(kind, tmp_path):
    ticket = dlth.random_ticket(KINDS[kind](), 0.7, seed=1)
    ticket.save(tmp_path / "below" / "ticket.xz")
    loaded = dlth.Ticket.load(tmp_path / "below" / "ticket.xz")
    assert list(loaded.masks) == list(ticket.masks)
    for name, mask in ticket.masks.items():
        np.testing.assert_array_equal(loaded.masks[name], mask)
    assert [p.name for p in (tmp_path / "below").iterdir()] == ["ticket.xz"]


def test_saving_where_there_is_a_ticket_replaces_it_whole(tmp_path):
    path = tmp_path / "ticket.xz"
    dlth.random_ticket(functional(), 0.9, seed=1).save(path)
    dlth.random_ticket(sequential(), 0.5, seed=2).save(path)
    assert list(dlth.Ticket.load(path).masks) == ["dense", "dense_1"]


def test_a_save_that_fails_leaves_the_old_ticket(tmp_path, monkeypatch):
    path = tmp_path / "ticket.xz"
    dlth.random_ticket(sequential(), 0.5, seed=2).save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        dlth.random_ticket(sequential(), 0.9, seed=2).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xz"):
        dlth.Ticket.load(tmp_path / "none.xz")


NO_TICKETS = {
    "empty": b"",
    "text": b"mask = 1",
    "a ticket of version 1": b"\x89DLTH\r\n\x1a\0\0\0\0",
    "an npz": b"PK\3\4",
    "nothing in xz": lzma.compress(b""),
    "text in xz": lzma.compress(b"mask = 1"),
    "another safetensors": lzma.compress(safetensors.numpy.save({"a": np.ones(3)})),
}


@pytest.mark.parametrize("kind", sorted(NO_TICKETS))
def test_a_file_that_is_no_ticket(kind, tmp_path):
    path = tmp_path / "ticket.xz"
    path.write_bytes(NO_TICKETS[kind])
    with pytest.raises(ValueError, match=r"ticket\.xz' is not a readable ticket"):
        dlth.Ticket.load(path)


def test_a_damaged_file_is_never_read_as_another_ticket(tmp_path):
    path = tmp_path / "ticket.xz"
    ticket = dlth.random_ticket(sequential(), 0.7, seed=1)
    ticket.save(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.integers(8)
        for content in (bytes(damaged), whole[:place]):
            path.write_bytes(content)
            try:
                loaded = dlth.Ticket.load(path)
            except ValueError as error:
                assert "is not a readable ticket" in str(error)
            else:
                assert list(loaded.masks) == list(ticket.masks)
                for name, mask in ticket.masks.items():
                    np.testing.assert_array_equal(loaded.masks[name], mask)


def test_a_ticket_that_does_not_fit_says_which_kernel_and_shapes():
    wide = keras.Sequential(
        [keras.Input((12,)), keras.layers.Dense(32), keras.layers.Dense(3)]
    )
    ticket = dlth.random_ticket(sequential(), 0.5, seed=0)
    message = r"kernel 'dense' has shape \(12, 32\), its mask \(12, 16\)"
    with pytest.raises(ValueError, match=message):
        ticket.apply(wide)


def test_a_ticket_with_other_kernels_says_which():
    ticket = dlth.random_ticket(functional(), 0.5, seed=0)
    only = dlth.Ticket({"dense": ticket.masks["dense"]})
    with pytest.raises(ValueError, match="no mask for kernel 'dense_1' of shape"):
        only.pairs(functional())
    more = dlth.Ticket(ticket.masks | {"stem": np.ones((2, 2), bool)})
    with pytest.raises(ValueError, match="mask for kernel 'stem', which the model lacks"):
        more.pairs(functional())

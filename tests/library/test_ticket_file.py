"""Tickets and sparse models as small files, safe to read from a stranger."""

import json
import math
import os
import struct
import tracemalloc
import zlib

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import dlth_tf as dlth
from dlth_tf.storage import compact_file
from dlth_tf.storage.mask_codes import MaskCode
from tests.library.models import functional, weights

HEAD = 12  # magic and the header's length
DIGEST = 32
MODEL = functional()


def drawn(shape, sparsity, seed=0) -> np.ndarray:
    size = math.prod(shape)
    order = np.random.default_rng(seed).permutation(size)
    return (order >= math.ceil(sparsity * size)).reshape(shape)


def entropy_bits(mask: np.ndarray) -> float:
    kept = np.count_nonzero(mask) / mask.size
    return -mask.size * (kept * math.log2(kept) + (1 - kept) * math.log2(1 - kept))


def header_of(content: bytes) -> dict:
    (length,) = struct.unpack("<I", content[8:HEAD])
    return json.loads(zlib.decompress(content[HEAD : HEAD + length]))


def with_header(content: bytes, header) -> bytes:
    """The file with another header and a checksum that is right."""
    (length,) = struct.unpack("<I", content[8:HEAD])
    text = zlib.compress(json.dumps(header).encode())
    body = content[:8] + struct.pack("<I", len(text)) + text
    body += content[HEAD + length : -DIGEST]
    return body + compact_file._DIGEST(body).digest()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ticket.npz"


@pytest.fixture
def content(path) -> bytes:
    masks = {"stem": np.ones((3, 3), bool), "body": drawn((20, 30), 0.9)}
    masks["filters"] = np.broadcast_to(drawn((64,), 0.5), (9, 64))
    dlth.Ticket(masks).save(path)
    return path.read_bytes()


@given(npst.arrays(bool, npst.array_shapes(min_dims=0, max_dims=4, max_side=9)))
def test_any_mask_comes_back(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("any") / "ticket"
    dlth.Ticket({"kernel": mask}).save(path)
    loaded = dlth.Ticket.load(path).masks["kernel"]
    assert loaded.dtype == bool
    np.testing.assert_array_equal(loaded, mask)


@given(st.integers(0, 3000), st.floats(0, 1), st.integers(0, 5))
def test_any_sparsity_comes_back(tmp_path_factory, size, sparsity, seed):
    path = tmp_path_factory.mktemp("any") / "ticket"
    mask = drawn((size,), sparsity, seed)
    dlth.Ticket({"kernel": mask}).save(path)
    np.testing.assert_array_equal(dlth.Ticket.load(path).masks["kernel"], mask)


@pytest.mark.parametrize("sparsity", [0.5, 0.55, 0.618, 0.7, 0.8, 0.9, 0.95, 0.98])
def test_a_ticket_is_within_five_percent_of_its_entropy(path, sparsity):
    mask = drawn((512, 1024), sparsity)
    dlth.Ticket({"kernel": mask}).save(path)
    assert path.stat().st_size * 8 < 1.05 * entropy_bits(mask)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("sparsity", [0.5, 0.7, 0.9, 0.95, 0.98])
def test_a_sparse_model_is_within_five_percent_of_its_entropy(path, sparsity, dtype):
    model = keras.Sequential(
        [keras.Input((200,)), keras.layers.Dense(300), keras.layers.Dense(200)]
    )
    ticket = dlth.random_ticket(model, sparsity, seed=0)
    dlth.save(path, model, ticket, dtype)
    bits = sum(map(entropy_bits, ticket.masks.values()))
    kept = sum(map(np.count_nonzero, ticket.masks.values()))
    bits += kept * (32 if dtype == "float32" else 16) + 500 * 32  # the biases
    assert path.stat().st_size * 8 < 1.05 * bits


def test_masks_of_whole_filters_cost_next_to_nothing(path):
    dlth.Ticket({"k": np.broadcast_to(drawn((256,), 0.5), (9, 128, 256))}).save(path)
    assert path.stat().st_size < 9 * 128 * 256 / 8 / 50


def test_files_of_earlier_versions_are_read(path):
    mask = drawn((5, 7), 0.5)
    shapes = json.dumps({"dense": mask.shape})
    np.savez_compressed(path, shapes=shapes, **{"mask/dense": np.packbits(mask)})
    np.testing.assert_array_equal(dlth.Ticket.load(path).masks["dense"], mask)


@pytest.mark.every_backend
def test_a_model_comes_back_to_the_bit(path):
    model, fresh = functional(), functional()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    ticket.apply(model)
    dlth.save(path, model, ticket)
    loaded = dlth.load(path, fresh)
    for before, after in zip(weights(model), weights(fresh), strict=True):
        np.testing.assert_array_equal(after, before)
    for name, mask in ticket.masks.items():
        np.testing.assert_array_equal(loaded.masks[name], mask)


def test_without_a_ticket_what_is_not_zero_is_kept(path):
    model, fresh = functional(), functional()
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    ticket.apply(model)
    dlth.save(path, model)
    assert dlth.load(path, fresh).sparsity == pytest.approx(ticket.sparsity)
    for before, after in zip(weights(model), weights(fresh), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_removed_weight_is_not_stored(path):
    model, fresh = functional(), functional()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    dlth.save(path, model, ticket)
    dlth.load(path, fresh)
    for _, kernel, mask in ticket.pairs(fresh):
        assert not keras.ops.convert_to_numpy(kernel)[~mask].any()


def test_a_ticket_is_read_from_a_model_file(path):
    model = functional()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    dlth.save(path, model, ticket)
    assert dlth.Ticket.load(path).sparsity == ticket.sparsity


@pytest.mark.every_backend
def test_float16_rounds_kept_kernel_weights_and_nothing_else(path):
    model, fresh = functional(), functional()
    for variable in model.weights:
        variable.assign(variable + 0.1)
    dlth.save(path, model, dtype="float16")
    dlth.load(path, fresh)
    kernels = {id(kernel) for kernel in dlth.maskable_kernels(model).values()}
    for before, after in zip(model.weights, fresh.weights, strict=True):
        expected = keras.ops.convert_to_numpy(before)
        if id(before) in kernels:
            expected = expected.astype(np.float16)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(after), expected)


def test_float16_refuses_what_it_cannot_hold(path):
    model = functional()
    next(iter(dlth.maskable_kernels(model).values())).assign_add(keras.ops.full((), 1e6))
    with pytest.raises(ValueError, match=r"float16 can't hold the weights of"):
        dlth.save(path, model, dtype="float16")
    assert not path.exists()


@pytest.mark.every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_models_of_any_float_type(path, dtype):
    def build():
        return keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(4, dtype=keras.DTypePolicy(dtype))]
        )

    model, fresh = build(), build()
    dlth.save(path, model)
    dlth.load(path, fresh)
    for before, after in zip(weights(model), weights(fresh), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_dtype_that_there_is_not(path):
    with pytest.raises(ValueError, match=r"'float16'\. Received: 'int8'"):
        dlth.save(path, functional(), dtype="int8")


def test_the_first_variable_that_does_not_fit_is_named(path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="a")])
    dlth.save(path, model)
    before = weights(other)
    with pytest.raises(ValueError, match=r"'a/kernel' has shape \(5, 3\)"):
        dlth.load(path, other)
    for value, now in zip(before, weights(other), strict=True):
        np.testing.assert_array_equal(now, value)


def test_a_ticket_alone_is_no_model(path, content):
    with pytest.raises(ValueError, match="no weights"):
        dlth.load(path, functional())


def test_equal_tickets_are_equal_files(path, content):
    dlth.Ticket.load(path).save(path)
    assert path.read_bytes() == content


def test_the_header_tells_how_each_mask_is_laid_out(path, content):
    stem, body, filters = (entry[1:5] for entry in header_of(content)["masks"])
    assert stem == [[3, 3], 9, "rice", True]
    assert body == [[20, 30], 60, "rice", False]
    assert filters == [[9, 64], 288, "deflate", False]


def test_the_places_of_the_rarer_value_are_stored(path):
    dlth.Ticket({s: drawn((20, 30), s) for s in (0.6, 0.5, 0.4)}).save(path)
    removed = [entry[4:6] for entry in header_of(path.read_bytes())["masks"]]
    assert removed == [[False, 240], [False, 300], [True, 240]]


LAYOUTS = {  # count, low bits, unary bits and bytes, of a mask of 10 weights
    "rice": [(1, 1, 6, 2), (10, 0, 10, 2), (2, 3, 3, 2), (0, 0, 0, 0)],
    "deflate": [(0, 0, 0, 2), (0, 0, 0, 1)],
}
NO_LAYOUTS = {
    "rice": [(1, 1, 7, 2), (11, 0, 11, 2), (2, 4, 2, 2), (1, 1, 6, 3), (0, 1, 0, 0)],
    "deflate": [(0, 0, 0, 3)],
    "huffman": [(1, 1, 6, 2)],
}


def test_a_layout_that_no_mask_has_is_refused():
    for code, layouts in LAYOUTS.items():
        for layout in layouts:
            MaskCode(code, False, *layout).check(10)
    for code, layouts in NO_LAYOUTS.items():
        for layout in layouts:
            with pytest.raises(ValueError, match=r"no mask of 10|unknown mask code"):
                MaskCode(code, False, *layout).check(10)


@pytest.mark.parametrize("shape", [[-3, -3], [9.0], [9, 10**20, 0], [1] * 32 + [9], {}])
def test_a_shape_that_is_none_is_refused(path, content, shape):
    header = header_of(content)
    header["masks"][0][1] = shape
    one_clear_error(path, with_header(content, header))


def test_a_shape_may_have_32_axes(path):
    dlth.Ticket({"kernel": np.ones((1,) * 32, bool)}).save(path)
    assert dlth.Ticket.load(path).masks["kernel"].ndim == 32


def test_values_of_every_type_come_back(path):
    numbers = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    types = ["bool", *numbers, "float16", "float32", "float64"]
    given = {name: np.array([[0, 1, 1]], name) for name in types}
    compact_file.write(path, {}, [(name, value, None) for name, value in given.items()])
    with compact_file.reading(path) as file:
        assert file.masks() == []
        found = file.values([])
    for name, value in found.items():
        assert value.dtype == name
        np.testing.assert_array_equal(value, given[name])


def one_clear_error(path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable ticket") as caught:
        dlth.Ticket.load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_every_truncated_file_is_refused(path, content):
    for length in range(len(content)):
        one_clear_error(path, content[:length])


def test_a_longer_file_is_refused(path, content):
    one_clear_error(path, content + b"\0")


def test_every_flipped_bit_is_found(path, content):
    for bit in range(0, 8 * len(content), 3):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        one_clear_error(path, bytes(flipped))


@given(st.data())
def test_a_flipped_bit_of_a_model_changes_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "model"
    dlth.save(path, MODEL)
    before = weights(MODEL)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable ticket"):
        dlth.load(path, MODEL)
    for value, now in zip(before, weights(MODEL), strict=True):
        np.testing.assert_array_equal(now, value)


@given(st.binary(max_size=200))
def test_noise_is_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "ticket"
    one_clear_error(path, noise)
    one_clear_error(path, compact_file.MAGIC + noise)
    one_clear_error(path, b"PK\3\4" + noise)


LIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lie") / "model"
    masks = {"a": np.ones((3, 3), bool), "b": drawn((20, 30), 0.9)}
    values = [(f"of {name}", mask.astype(float), name) for name, mask in masks.items()]
    compact_file.write(path, masks, [*values, ("bias", np.ones(4), None)])
    return path, path.read_bytes()


@given(LIES, st.data())
def test_a_header_that_lies_is_refused(model_file, lie, data):
    """One value of the header is replaced, the checksum made right again."""
    path, content = model_file
    header = header_of(content)
    entry = data.draw(st.sampled_from(header["masks"] + header["variables"]))
    place = data.draw(st.integers(1, len(entry) - 1))
    if entry[place] == lie and type(entry[place]) is type(lie):
        return
    entry[place] = lie
    one_clear_error(path, with_header(content, header))


def peak_megabytes(action) -> float:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [[2**20, 2**20], [2**47] * 3, [2**28 + 1]])
def test_a_small_file_cannot_claim_much_memory(path, content, shape):
    header = header_of(content)
    header["masks"][0][1] = shape
    header["masks"][0][2] = math.prod(shape)
    path.write_bytes(with_header(content, header))

    def load():
        with pytest.raises(ValueError, match=r"max_weights|not a readable"):
            dlth.Ticket.load(path)

    assert peak_megabytes(load) < 5


def test_a_header_that_inflates_without_end(path, content):
    text = zlib.compress(b"[" * (1 << 26), 9)
    body = content[:8] + struct.pack("<I", len(text)) + text
    path.write_bytes(body)
    assert peak_megabytes(lambda: one_clear_error(path, body)) < 20


def test_a_header_may_have_4_mib(path, content):
    for length, words in ((1 << 21, "makes no sense"), ((1 << 22) + 1, "longer than 4")):
        text = zlib.compress(b" " * length)
        path.write_bytes(content[:8] + struct.pack("<I", len(text)) + text)
        with pytest.raises(ValueError, match=words):
            dlth.Ticket.load(path)


def test_deeply_nested_headers(path, content):
    text = zlib.compress(b"[" * 100_000 + b"]" * 100_000, 9)
    one_clear_error(path, content[:8] + struct.pack("<I", len(text)) + text)


def test_a_ticket_may_have_as_many_weights_as_is_said(path, content):
    weights = 9 + 600 + 9 * 64
    assert len(dlth.Ticket.load(path, weights).masks) == 3
    with pytest.raises(ValueError, match=r"1,185 weights, more than .* \(1,184\)"):
        dlth.Ticket.load(path, weights - 1)


def test_an_earlier_format_cannot_claim_much_memory(path):
    shapes = json.dumps({"dense": [2**20, 2**20]})
    np.savez(path, shapes=shapes, **{"mask/dense": np.zeros(1, np.uint8)})

    def load():
        with pytest.raises(ValueError, match="max_weights"):
            dlth.Ticket.load(path)

    assert peak_megabytes(load) < 5


def test_a_pickle_is_not_opened(path):
    class Danger:
        def __reduce__(self):
            return os.mkdir, (str(path) + ".touched",)

    np.savez(path, shapes=np.array([Danger()], object))
    one_clear_error(path, path.read_bytes())
    assert not os.path.exists(f"{path}.touched")


def test_a_file_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        dlth.Ticket.load(path)


def test_a_failed_save_leaves_the_file_before(path, content, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        dlth.Ticket({"a": np.ones(3, bool)}).save(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]

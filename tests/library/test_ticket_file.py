"""Tickets and sparse models as small files, safe to read from a stranger."""

import json
import lzma
import math
import tracemalloc

import keras
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import dlth_tf as dlth
from tests.library.models import functional, weights

MODEL = functional()


def drawn(shape, sparsity, seed=0) -> np.ndarray:
    size = math.prod(shape)
    order = np.random.default_rng(seed).permutation(size)
    return (order >= math.ceil(sparsity * size)).reshape(shape)


def entropy_bits(mask: np.ndarray) -> float:
    kept = np.count_nonzero(mask) / mask.size
    return -mask.size * (kept * math.log2(kept) + (1 - kept) * math.log2(1 - kept))


def unpacked(content: bytes) -> tuple[dict, bytes]:
    """The header and what follows it."""
    body = lzma.decompress(content)
    end = 8 + int.from_bytes(body[:8], "little")
    return json.loads(body[8:end]), body[end:]


def packed(header, data: bytes) -> bytes:
    """A file of any header, with a checksum that is right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lzma.compress(len(text).to_bytes(8, "little") + text + data)


def listed(header: dict) -> list:
    """What the header says of the masks."""
    return json.loads(header["__metadata__"]["masks"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my.ticket"


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


@pytest.mark.parametrize(
    ("sparsity", "most"), [(0.5, 1.02), (0.7, 1.04), (0.9, 1.06), (0.98, 1.27)]
)
def test_a_ticket_takes_little_more_than_its_entropy(path, sparsity, most):
    mask = drawn((512, 1024), sparsity)
    dlth.Ticket({"kernel": mask}).save(path)
    assert path.stat().st_size * 8 < most * entropy_bits(mask)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.98])
def test_a_sparse_model_is_within_ten_percent_of_its_entropy(path, sparsity, dtype):
    model = keras.Sequential(
        [keras.Input((200,)), keras.layers.Dense(300), keras.layers.Dense(200)]
    )
    ticket = dlth.random_ticket(model, sparsity, seed=0)
    dlth.save(path, model, ticket, dtype)
    bits = sum(map(entropy_bits, ticket.masks.values()))
    kept = sum(map(np.count_nonzero, ticket.masks.values()))
    bits += kept * (32 if dtype == "float32" else 16)
    assert path.stat().st_size * 8 < 1.1 * bits


def test_masks_of_whole_filters_cost_next_to_nothing(path):
    dlth.Ticket({"k": np.broadcast_to(drawn((256,), 0.5), (9, 128, 256))}).save(path)
    assert path.stat().st_size < 9 * 128 * 256 / 8 / 50


def test_any_tool_can_read_what_is_inside(path):
    model = functional()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    dlth.save(path, model, ticket)
    tensors = safetensors.numpy.load(lzma.decompress(path.read_bytes()))
    (name, kernel, mask), *_ = ticket.pairs(model)
    np.testing.assert_array_equal(tensors[f"mask/{name}"], np.packbits(mask))
    kept = keras.ops.convert_to_numpy(kernel)[mask]
    np.testing.assert_array_equal(tensors[f"value/{name}/kernel"], kept)


def test_files_of_earlier_versions_are_named(path):
    for start in (b"\x89DLTH\r\n\x1a", b"PK\3\4"):
        path.write_bytes(start + bytes(100))
        with pytest.raises(ValueError, match=r"of an earlier version, whose files are"):
            dlth.Ticket.load(path)


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
    for bit in range(0, 8 * len(content), 7):
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
    one_clear_error(path, lzma.compress(noise))
    one_clear_error(path, packed(noise, b""))


LIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(LIES, st.data())
def test_a_header_that_lies_is_refused(tmp_path_factory, lie, data):
    """One value of the header is replaced, the checksum made right again."""
    path = tmp_path_factory.mktemp("lie") / "ticket"
    dlth.Ticket({"a": np.ones((3, 3), bool), "b": drawn((20, 30), 0.9)}).save(path)
    header, bits = unpacked(path.read_bytes())
    mask = data.draw(st.sampled_from("ab"))
    told = header[f"mask/{mask}"]
    place = data.draw(st.sampled_from([*told, "all", "listed"]))
    before = json.dumps(header)
    if place == "all":
        header[f"mask/{mask}"] = lie
    elif place == "listed":
        entries = listed(header)
        entries["ab".index(mask)] = lie
        header["__metadata__"]["masks"] = json.dumps(entries)
    else:
        told[place] = lie
    if json.dumps(header) != before:
        one_clear_error(path, packed(header, bits))


def entry(shape, begin, end, dtype="U8") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SHAPE = [4, 4]
MASK = {"mask/a": entry([2], 0, 2)}
ALONE, OF_K = [["a", SHAPE, None]], [["a", SHAPE, "k"]]
FORGED = {
    "overlap": (MASK | {"value/k": entry([2], 1, 3)}, OF_K),
    "hole": ({"mask/a": entry([2], 1, 3)}, ALONE),
    "beyond the end": ({"mask/a": entry([2], 2, 4)}, ALONE),
    "backwards": ({"mask/a": entry([2], 2, 0)}, ALONE),
    "another size": (MASK, [["a", [4, 5], None]]),
    "another type": ({"mask/a": entry([2], 0, 2, "I8")}, ALONE),
    "unknown type": ({"mask/a": entry([2], 0, 2, "F8_E4M3")}, ALONE),
    "no bits": ({}, ALONE),
    "no mask": (MASK, []),
    "another tensor": (MASK | {"b": entry([1], 2, 3)}, ALONE),
    "twice": (MASK | {"k": entry([0], 2, 2), "value/k": entry([1], 2, 3)}, OF_K),
    "a mask of no variable": (MASK | {"value/k": entry([1], 2, 3)}, ALONE),
    "no such variable": (MASK, OF_K),
    "more kept than there are": (MASK | {"value/k": entry([17], 2, 19)}, OF_K),
    # One value would fit any number of places.
    "another number kept": (MASK | {"value/k": entry([1], 2, 3)}, OF_K),
    "many axes": ({"mask/a": entry([1], 0, 1)}, [["a", [1] * 100, None]]),
    "a name on two lines": (MASK | {"value/\n": entry([2], 1, 3)}, [["a", SHAPE, "\n"]]),
    "no axes": (MASK, [["a", None, None]]),
    "no masks": (MASK, None),
}


@pytest.mark.parametrize("kind", sorted(FORGED))
def test_a_forged_file_is_refused(path, kind):
    header, masks = FORGED[kind]
    size = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    told = {"__metadata__": {"masks": json.dumps(masks)}} | header
    one_clear_error(path, packed(told, b"\xff" * min(size, 19)))


def peak_megabytes(action) -> float:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [[2**20, 2**20], [2**47] * 3, [2**28 + 1]])
def test_a_small_file_cannot_claim_much_memory(path, content, shape):
    header, bits = unpacked(content)
    entries = listed(header)
    entries[0][1] = shape
    header["__metadata__"]["masks"] = json.dumps(entries)
    header["mask/stem"]["shape"] = [-(-math.prod(shape) // 8)]
    path.write_bytes(packed(header, bits))

    def load():
        with pytest.raises(ValueError, match=r"max_weights|not a readable"):
            dlth.Ticket.load(path)

    assert peak_megabytes(load) < 20  # what xz's own preset takes is 8


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """64 MiB of zeros as one value, in a few kilobytes."""
    header = {"__metadata__": {"masks": "[]"}, "value/a": entry([1 << 26], 0, 1 << 26)}
    return packed(header, bytes(1 << 26))


def test_values_that_inflate_without_end(path, bomb):
    path.write_bytes(bomb)
    assert len(bomb) < 20_000

    def load():
        with pytest.raises(ValueError, match="max_weights"):
            dlth.Ticket.load(path, max_weights=1 << 20)
        with pytest.raises(ValueError, match="do not fit model"):
            dlth.load(path, MODEL)

    assert peak_megabytes(load) < 25


def test_more_than_the_header_says_is_not_inflated(path, bomb):
    header = {"__metadata__": {"masks": "[]"}, "value/a": entry([1], 0, 1)}
    text = packed(header, bytes(1 << 26))
    assert peak_megabytes(lambda: one_clear_error(path, text)) < 25


def test_a_header_that_inflates_without_end(path):
    text = packed(b"[" * (1 << 26), b"")
    assert peak_megabytes(lambda: one_clear_error(path, text)) < 25


def test_deeply_nested_headers(path):
    one_clear_error(path, packed(b"[" * 100_000 + b"]" * 100_000, b""))


def test_max_weights_is_what_a_ticket_may_have(path):
    dlth.Ticket({"a": np.ones((10, 10), bool)}).save(path)
    assert dlth.Ticket.load(path, max_weights=100).masks["a"].all()
    with pytest.raises(ValueError, match=r"100 weights and 13 bytes.*weights` \(99\)"):
        dlth.Ticket.load(path, max_weights=99)

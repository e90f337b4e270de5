"""GGUF files: the same logits as transformers, and a sentence for every damage."""

from __future__ import annotations

import os
import random
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from decodeloop.checkpoints.gguf_file import GGUFFile, own_name, unpermute
from decodeloop.errors import ModelFileError
from decodeloop.loading import load

IDS = torch.tensor([[5, 40, 7, 7, 260, 1, 99, 12, 200, 33]])
U32 = gguf.GGUFValueType.UINT32


def loaded(path):
    return load(path, device="cpu")


def assert_same_logits(ours, theirs, atol=1e-4):
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=atol, rtol=0)


# --- what is read ---


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_logits_equal_those_of_transformers_on_the_stored_values(tiny, llama, tmp_path, kind):
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, kind)
    assert_same_logits(loaded(path).model, tiny.as_stored(llama, kind))


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": False},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
        {"head_dim": 24},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        {"rms_norm_eps": 0.1},
    ],
    ids=str,
)
def test_logits_equal_those_of_transformers_for_every_shape(tiny, tmp_path, changes):
    model = tiny.llama(**changes)
    path = tiny.write_gguf(tmp_path / "m.gguf", model)
    assert_same_logits(loaded(path).model, model)


def test_the_configuration_is_read(tiny, llama, tmp_path):
    model = loaded(tiny.write_gguf(tmp_path / "m.gguf", llama))
    config = model.config
    assert (config.vocabulary, config.width, config.layers) == (len(tiny.tokens), 64, 2)
    assert (config.heads, config.kv_heads, config.head_dim) == (4, 2, 16)
    assert (config.feed_forward, config.context) == (96, 128)
    assert (config.rope_base, config.norm_eps, config.tied) == (100_000.0, 1e-5, True)
    assert model.eos_ids == (2,)


def test_keys_that_may_be_missing_have_their_defaults(tiny, llama, tmp_path):
    def without(writer):
        for key in ("llama.rope.freq_base", "llama.attention.head_count_kv"):
            del writer.kv_data[0][key]
        del writer.kv_data[0]["tokenizer.ggml.eos_token_id"]

    mha = tiny.llama(num_key_value_heads=4)
    model = loaded(tiny.write_gguf(tmp_path / "m.gguf", mha, edit=without))
    assert (model.config.kv_heads, model.config.rope_base) == (4, 10_000.0)
    assert model.eos_ids == ()


def test_weights_are_converted_to_the_type_asked_for(tiny, llama, tmp_path):
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, "F16")
    model = load(path, device="cpu", dtype=torch.bfloat16).model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    stored = tiny.as_stored(llama, "F16").get_input_embeddings().weight
    assert torch.equal(model.embedding.weight, stored.bfloat16())


def test_unpermute_puts_neighbours_half_a_head_apart():
    rows = torch.tensor([[0.0], [4.0], [1.0], [5.0], [2.0], [6.0], [3.0], [7.0]])
    assert unpermute(rows, heads=1).flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert unpermute(rows, heads=2).flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7]


def test_every_token_that_ends_a_text_or_a_turn_is_read(tiny, llama, tmp_path):
    def edit(writer):
        writer.add_eot_token_id(0)
        writer.add_eom_token_id(2)

    assert loaded(tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit)).eos_ids == (2, 0)


def test_what_changes_nothing_is_accepted(tiny, llama, tmp_path):
    def edit(writer):
        writer.add_vocab_size(len(tiny.tokens))
        writer.add_rope_dimension_count(16)
        writer.add_value_length(16)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_float32("llama.rope.scaling.factor", 1.0)
        writer.add_float32("llama.rope.scale_linear", 1.0)
        writer.add_rope_scaling_orig_ctx_len(64)
        writer.add_expert_count(0)
        writer.add_causal_attention(True)
        writer.add_string("somebody.else", "x")

    assert_same_logits(loaded(tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit)).model, llama)


def test_the_suffix_may_be_in_capitals(tiny, llama, tmp_path):
    path = tiny.write_gguf(tmp_path / "m.gguf", llama)
    assert_same_logits(loaded(path.rename(tmp_path / "M.GGUF")).model, llama)


def test_the_parts_of_a_split_file_are_read_together(tiny, llama, tmp_path):
    for path in tiny.split_gguf(tmp_path, llama):
        assert_same_logits(loaded(path).model, llama)


def test_a_part_that_is_missing_or_another_is_named(tiny, llama, tmp_path):
    first, second, third = tiny.split_gguf(tmp_path, llama)
    kept = third.read_bytes()
    third.unlink()
    for path in (first, second):
        refused(tiny, first, f"{third.name} is not beside it", "3 parts")
        assert tiny.refusal(lambda path=path: loaded(path))
    third.write_bytes(second.read_bytes())
    assert "not part 3 of 3" in tiny.refusal(lambda: loaded(first))
    third.write_bytes(kept)
    second.unlink()
    second.mkdir()
    assert "a folder" in tiny.refusal(lambda: loaded(first))
    renamed = first.rename(tmp_path / "renamed.gguf")
    refused(tiny, renamed, "…-00001-of-00003.gguf")


def test_a_tensor_in_two_parts_is_refused(tiny, llama, tmp_path):
    _, second, third = tiny.split_gguf(tmp_path, llama)
    tensors = tiny.tensors(llama)

    def edit(writer):
        writer.kv_data[0].clear()
        writer.add_uint16("split.no", 2)
        writer.add_uint16("split.count", 3)

    name = sorted(tensors)[1]
    tiny.write_gguf(third, llama, tensors={name: tensors[name] + 1}, edit=edit)
    assert "tensors" in tiny.refusal(lambda: loaded(second))


def test_progress_ends_at_one(tiny, llama, tmp_path):
    seen = []
    GGUFFile(tiny.write_gguf(tmp_path / "m.gguf", llama)).weights(seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == len(tiny.tensors(llama))


@pytest.mark.parametrize(
    "name", ["rope_freqs.weight", "blk.0.attn_q.scale", "blk.p.attn_q.weight", "blk.0.weight", ""]
)
def test_a_name_without_a_place_is_recognised(name):
    assert own_name(name) is None


# --- what is refused ---


def refused(tiny, path, *parts):
    message = tiny.refusal(lambda: loaded(path))
    assert message is not None, "it was loaded"
    for part in (str(path), *parts):
        assert part in message


def test_another_architecture_is_named(tiny, llama, tmp_path):
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, architecture="gemma")
    refused(tiny, path, "'gemma'", "'llama', 'qwen2', 'qwen3', 'smollm3'")


@pytest.mark.parametrize("kind", ["Q5_0", "BF16"])
def test_an_unsupported_quantization_is_named_with_its_tensor(tiny, llama, tmp_path, kind):
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, kind)
    refused(tiny, path, kind, "token_embd.weight", "F32, F16, Q8_0, Q4_1, Q4_0")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("token_embd.weight", "token_embd.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight"),
        ("blk.1.attn_norm.weight", "model.layers.1.input_layernorm.weight"),
    ],
)
def test_a_missing_tensor_is_named(tiny, llama, tmp_path, name, shown):
    tensors = tiny.tensors(llama)
    del tensors[name]
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, tensors=tensors)
    refused(tiny, path, shown)


@pytest.mark.parametrize(
    ("name", "hub_name", "shape", "expected"),
    [
        ("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", (95, 64), (96, 64)),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", (60, 64), (64, 64)),
        ("blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight", (31, 64), (32, 64)),
        ("blk.1.attn_norm.weight", "model.layers.1.input_layernorm.weight", (32,), (64,)),
    ],
)
def test_a_misshapen_tensor_is_named_with_both_shapes(
    tiny, llama, tmp_path, name, hub_name, shape, expected
):
    tensors = tiny.tensors(llama)
    tensors[name] = np.ones(shape, np.float32)
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, tensors=tensors)
    refused(tiny, path, hub_name, str(shape), str(expected))


def test_a_tensor_without_a_place_is_named(tiny, llama, tmp_path):
    tensors = tiny.tensors(llama) | {"blk.0.attn_q.bias": np.ones(64, np.float32)}
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, tensors=tensors)
    refused(tiny, path, "blk.0.attn_q.bias")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(tiny, llama, tmp_path, value):
    tensors = tiny.tensors(llama)
    tensors["blk.1.ffn_down.weight"][3, 5] = value
    path = tiny.write_gguf(tmp_path / "m.gguf", llama, tensors=tensors)
    refused(tiny, path, "blk.1.ffn_down.weight", "not numbers")


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("rope.scaling.type", "longrope", "STRING"),
        ("rope.scaling.attn_factor", 2.0, "FLOAT32"),
        ("rope.scaling.factor", 2.0, "FLOAT32"),
        ("rope.scale_linear", 0.25, "FLOAT32"),
        ("rope.dimension_count", 8, "UINT32"),
        ("rope.dimension_count", True, "BOOL"),
        ("attention.value_length", 8, "UINT32"),
        ("vocab_size", 5, "UINT32"),
        ("expert_count", 4, "UINT32"),
        ("attention.causal", False, "BOOL"),
        ("attention.sliding_window_pattern", 2, "UINT32"),
        ("logit_scale", 0.5, "FLOAT32"),
        ("something.new", 1, "UINT32"),
        ("something.new", "\n" * 5000, "STRING"),
    ],
)
def test_a_key_that_makes_another_model_is_refused(tiny, llama, tmp_path, key, value, kind):
    def edit(writer):
        writer.add_key_value(f"llama.{key}", value, gguf.GGUFValueType[kind])

    refused(tiny, tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit), key)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_header_with_other_layers_than_the_file_is_refused(tiny, llama, tmp_path, layers):
    def edit(writer):
        writer.kv_data[0]["llama.block_count"].value = layers

    refused(tiny, tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit), f"{layers} layers")


@pytest.mark.parametrize("key", ["layer_norm_rms_epsilon", "freq_base"])
@pytest.mark.parametrize("value", [np.inf, np.nan, -1.0, 0.0, 1e-45])
def test_an_impossible_number_is_refused(tiny, llama, tmp_path, key, value):
    def edit(writer):
        full = next(name for name in writer.kv_data[0] if name.endswith(key))
        writer.kv_data[0][full].value = value

    with np.errstate(all="ignore"):
        path = tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit)
    refused(tiny, path, "is damaged")


@pytest.mark.parametrize("key", ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"])
@pytest.mark.parametrize(("value", "kind"), [(5000, "UINT32"), (True, "BOOL"), ("end", "STRING")])
def test_an_end_that_is_no_token_is_refused(tiny, llama, tmp_path, key, value, kind):
    def edit(writer):
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, gguf.GGUFValueType[kind])

    refused(tiny, tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit))


@pytest.mark.parametrize(
    "key",
    [
        "llama.block_count",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.context_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ],
)
@pytest.mark.parametrize("value", [None, "six", 0, True])
def test_a_number_that_is_missing_or_is_none_is_refused(tiny, llama, tmp_path, key, value):
    def edit(writer):
        del writer.kv_data[0][key]
        if value is not None:
            kind = gguf.GGUFValueType.STRING if value == "six" else U32
            kind = gguf.GGUFValueType.BOOL if value is True else kind
            writer.add_key_value(key, value, kind)

    path = tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit)
    refused(tiny, path, *([] if value is not None else [key]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 2**32 - 1),
        ("llama.embedding_length", 2**31),
        ("llama.feed_forward_length", 2**32 - 1),
        ("llama.attention.head_count", 2**31),
        ("llama.attention.head_count", 3),
        ("llama.attention.key_length", 15),
        ("llama.attention.key_length", 2**31),
    ],
)
def test_an_impossible_size_is_refused_at_once(tiny, llama, tmp_path, key, value):
    def edit(writer):
        writer.kv_data[0].pop(key, None)
        writer.add_uint32(key, value)

    path = tiny.write_gguf(tmp_path / "m.gguf", llama, edit=edit)
    with tiny.guarded():
        refused(tiny, path)


def test_a_file_that_is_missing_is_named(tiny, tmp_path):
    refused(tiny, tmp_path / "none.gguf", "No such file")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there are no such files")
def test_what_is_no_regular_file_is_refused_at_once(tiny, tmp_path):
    path = tmp_path / "m.gguf"
    os.mkfifo(path)
    with tiny.guarded(seconds=20):
        refused(tiny, path, "a pipe")
    path.unlink()
    path.symlink_to("/dev/full")
    with tiny.guarded(seconds=20):
        refused(tiny, path, "a device")


def test_a_giant_without_content_is_not_read(tiny, small, tmp_path):
    """A string, a list and a tensor of 2^40 bytes, in a sparse file that is as large."""
    for what, at in lengths(small).items():
        if what == "first item of tokenizer.ggml.token_type":
            continue
        path = changed(small, tmp_path, at, (1 << 39).to_bytes(8, "little"))
        with path.open("r+b") as file:
            file.truncate(1 << 42)
        with tiny.guarded(seconds=20):
            assert tiny.refusal(lambda path=path: loaded(path)), what


def test_a_key_that_stands_twice_is_refused(tiny, small, tmp_path):
    raw = small.read_bytes()
    key = b"tokenizer.ggml.bos_token_id"
    path = changed(small, tmp_path, raw.index(key), b"tokenizer.ggml.eos_token_id")
    refused(tiny, path, "tokenizer.ggml.eos_token_id twice")


def test_tensors_lie_one_after_the_other(tiny, small, tmp_path):
    """Swapped, overlapping, off the grid, with a hole: never what a writer writes."""
    raw = small.read_bytes()
    places = [raw.index(name) + len(name) for name in (b"attn_q.weight", b"attn_k.weight")]
    one, other = (at + 4 + 16 + 4 for at in places)  # after the axes and the type
    first, second = raw[one : one + 8], raw[other : other + 8]
    assert first != second
    for at, new in [
        (one, second),
        (other, first),
        (one, bytes(8)),
        (one, (1).to_bytes(8, "little")),
    ]:
        refused(tiny, changed(small, tmp_path, at, new), "lies at", "expected at")
    swapped = bytearray(raw)
    swapped[one : one + 8], swapped[other : other + 8] = second, first
    path = tmp_path / "swapped.gguf"
    path.write_bytes(swapped)
    refused(tiny, path, "lies at")


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\3\4" + bytes(100), b"GGML" + bytes(100)])
def test_a_file_of_another_kind_is_recognised(tiny, tmp_path, content):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    refused(tiny, path, "no GGUF file")


# --- files that are damaged anywhere ---


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory) -> Path:
    """A GGUF file with a header of 1.7 kB, so that all of it can be damaged."""
    model = tiny.llama(
        vocab_size=12,
        num_hidden_layers=1,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    tokens = [*tiny.control_tokens, "a", "b", "c", "ab", "abc"]
    tiny.write_gguf(path, model, "Q8_0", tokens=tokens, merges=["a b", "ab c"])
    loaded(path)  # undamaged, it works
    return path


def changed(small, tmp_path, at: int, new: bytes) -> Path:
    raw = bytearray(small.read_bytes())
    raw[at : at + len(new)] = new
    path = tmp_path / "damaged.gguf"
    path.write_bytes(raw)
    return path


def test_a_flipped_bit_in_the_header_is_refused_or_harmless(tiny, small, tmp_path):
    raw, draw = small.read_bytes(), random.Random(0)
    outcomes = set()
    for at in range(0, gguf.GGUFReader(small).data_offset, 3):  # 3 meets every byte of a number
        path = changed(small, tmp_path, at, bytes([raw[at] ^ 1 << draw.randrange(8)]))
        with tiny.guarded():
            outcomes.add(tiny.refusal(lambda path=path: loaded(path)) is None)
    assert outcomes == {True, False}  # a context one longer is harmless, a shorter name is not


@given(data=st.data())
def test_random_bytes_anywhere_are_refused_or_harmless(tiny, small, tmp_path_factory, data):
    end = gguf.GGUFReader(small).data_offset
    at = data.draw(st.integers(0, end - 1))
    new = data.draw(st.binary(min_size=1, max_size=min(16, end - at)))
    path = changed(small, tmp_path_factory.getbasetemp(), at, new)
    with tiny.guarded():
        tiny.refusal(lambda: loaded(path))


@given(tail=st.binary(max_size=200))
@example(tail=b"\3\0\0\0" + b"\xff" * 16)
@example(tail=b"\3\0\0\0" + bytes(16))
def test_any_bytes_after_the_magic_number_are_refused(tiny, tmp_path_factory, tail):
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(b"GGUF" + tail)
    with tiny.guarded():
        assert tiny.refusal(lambda: loaded(path))


def lengths(small) -> dict[str, int]:
    """Where the header's counts and lengths lie: the 8-byte numbers that a reader would trust."""
    raw = small.read_bytes()
    places = {"number of tensors": 8, "number of fields": 16, "length of the first key": 24}
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"):
        at = raw.index(key.encode()) + len(key)
        places[f"length of {key}"] = at + 8  # after the types of the value and of its items
        places[f"first item of {key}"] = at + 16
    at = raw.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template")
    places["length of the template"] = at + 4
    at = raw.index(b"token_embd.weight") + len(b"token_embd.weight")
    places |= {"length of a tensor's name": at - len(b"token_embd.weight") - 8}
    places |= {"axis 0": at + 4, "axis 1": at + 12, "offset": at + 24}
    return places


@pytest.mark.parametrize("value", [2**20, 2**31, 2**60, 2**63, 2**64 - 1])
def test_a_huge_count_is_refused_at_once(tiny, small, tmp_path, value):
    for what, at in lengths(small).items():
        if what == "first item of tokenizer.ggml.token_type":
            continue  # two types, not a length
        path = changed(small, tmp_path, at, value.to_bytes(8, "little"))
        with tiny.guarded():
            assert tiny.refusal(lambda path=path: loaded(path)), what


def test_arrays_within_arrays_are_refused_at_any_depth(tiny, tmp_path):
    nested = b"\x09\0\0\0" + (1).to_bytes(8, "little")  # an array of one array
    header = b"GGUF\3\0\0\0" + bytes(8) + (1).to_bytes(8, "little")
    field = (1).to_bytes(8, "little") + b"k" + b"\x09\0\0\0" + nested * 50_000
    path = tmp_path / "m.gguf"
    path.write_bytes(header + field)
    with tiny.guarded():
        refused(tiny, path, "unknown type 9")


def test_a_file_cut_off_anywhere_is_refused(tiny, small, tmp_path):
    raw = small.read_bytes()
    data = gguf.GGUFReader(small).data_offset
    ends = {*range(60), *range(60, data, 13), data - 1, data, data + 1, len(raw) // 2}
    ends |= {len(raw) - 33, gguf_end(small) - 1}
    path = tmp_path / "cut.gguf"
    for end in sorted(ends):
        path.write_bytes(raw[:end])
        with tiny.guarded():
            assert tiny.refusal(lambda: loaded(path)), f"{end} of {len(raw)} bytes"


def gguf_end(path: Path) -> int:
    """Where the last tensor ends; what follows is padding."""
    return max(t.data_offset + t.n_bytes for t in gguf.GGUFReader(path).tensors)


def test_a_file_with_its_whole_data_and_no_padding_is_read(small, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(small.read_bytes()[: gguf_end(small)])
    loaded(path)


def test_a_reader_that_fails_for_a_reason_of_its_own_is_explained(
    tiny, small, tmp_path, monkeypatch
):
    def fail(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(gguf, "GGUFReader", fail)
    refused(tiny, small, "two lines", "bytes")


def test_a_damaged_file_is_a_model_file_error(small, tmp_path):
    with pytest.raises(ModelFileError):
        loaded(changed(small, tmp_path, 4, b"\x07"))

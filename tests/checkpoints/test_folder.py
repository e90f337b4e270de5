"""Hub folders: the same logits as transformers, and a sentence for every damage."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from decodeloop.checkpoints.folder import INDEX, WEIGHTS
from decodeloop.checkpoints.hub_config import read_config, read_eos_ids, write_config
from decodeloop.errors import ModelFileError
from decodeloop.loading import load
from decodeloop.model import TINY, ModelConfig

IDS = torch.tensor([[5, 40, 7, 7, 260, 1, 99, 12, 200, 33]])


def loaded(folder):
    return load(folder, device="cpu")


def assert_same_logits(ours, theirs, atol=1e-4):
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=atol, rtol=0)


def edit_config(folder: Path, changes: dict, *, without: tuple[str, ...] = ()) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in raw.items() if k not in without}), "utf-8")


@pytest.fixture(scope="module")
def whole(tiny, llama, tmp_path_factory) -> Path:
    """A folder that works; not to be changed."""
    folder = tiny.save_folder(tmp_path_factory.mktemp("hub") / "whole", llama)
    loaded(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


# --- what is read ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
        {"head_dim": 24},
        {"rms_norm_eps": 0.1},
        {"rms_norm_eps": 1.0},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    ],
    ids=str,
)
def test_logits_equal_those_of_transformers(tiny, tmp_path, changes):
    model = tiny.llama(**changes)
    assert_same_logits(loaded(tiny.save_folder(tmp_path / "m", model)).model, model)


@pytest.mark.parametrize("base", [500.0, 100_000])
def test_both_spellings_of_the_rope_base_are_read(folder, base):
    edit_config(folder, {"rope_parameters": {"rope_type": "default", "rope_theta": base}})
    assert read_config(folder).rope_base == base
    edit_config(folder, {"rope_theta": base}, without=("rope_parameters",))
    assert read_config(folder).rope_base == base
    edit_config(folder, {"rope_scaling": None})
    assert read_config(folder).rope_base == base


def test_a_whole_number_may_stand_for_a_fraction(folder):
    edit_config(folder, {"rms_norm_eps": 10**30})
    assert loaded(folder).config.norm_eps == 1e30
    loaded(folder).model(IDS)


def test_numbers_that_older_files_lack_have_transformers_defaults(folder):
    gone = ("num_key_value_heads", "head_dim", "rope_parameters", "rms_norm_eps", "hidden_act")
    gone += ("max_position_embeddings", "tie_word_embeddings", "attention_bias", "mlp_bias")
    edit_config(folder, {}, without=gone)
    config = read_config(folder)
    assert (config.kv_heads, config.head_dim, config.rope_base) == (4, 16, 10_000.0)
    assert (config.norm_eps, config.context, config.tied) == (1e-6, 2048, False)


def test_shards_are_read_by_their_index(tiny, llama, tmp_path):
    folder = tiny.save_folder(tmp_path / "m", llama, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert_same_logits(loaded(folder).model, llama)


def test_a_half_precision_folder_is_computed_in_fp32_if_not_asked_otherwise(tiny, tmp_path):
    folder = tiny.save_folder(tmp_path / "m", tiny.llama().bfloat16())
    ours = loaded(folder).model
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert_same_logits(ours, theirs)


def test_the_type_asked_for_is_computed_in(whole, llama):
    ours = load(whole, device="cpu", dtype=torch.bfloat16).model
    assert {p.dtype for p in ours.parameters()} == {torch.bfloat16}
    ours, exact = ours(IDS), llama(IDS).logits
    assert ours.dtype == torch.bfloat16
    assert not torch.equal(ours.float(), exact)  # bf16 keeps 8 bits
    assert (ours - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_the_embedding_itself(tiny, tmp_path, tied):
    model = loaded(tiny.save_folder(tmp_path / "m", tiny.llama(tie_word_embeddings=tied))).model
    assert (model.output.weight is model.embedding.weight) == tied


def rewrite(folder: Path, change) -> None:
    """Save the weights again after `change` has had them."""
    weights = load_file(folder / WEIGHTS)
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    save_file(change(weights) or weights, folder / WEIGHTS)


def test_a_tied_head_that_is_stored_all_the_same_must_be_the_embedding(tiny, folder, llama):
    embedding = llama.get_input_embeddings().weight
    rewrite(folder, lambda weights: weights | {"lm_head.weight": embedding.clone()})
    model = loaded(folder).model
    assert model.output.weight is model.embedding.weight
    rewrite(folder, lambda weights: weights | {"lm_head.weight": embedding + 1})
    refused(tiny, folder, "lm_head.weight", "differs", "tie_word_embeddings")


def test_weights_saved_without_the_head_have_no_prefix(tiny, tmp_path):
    model = tiny.llama()
    tiny.save_folder(tmp_path, model)
    model.model.save_pretrained(tmp_path / "bare")
    assert "norm.weight" in load_file(tmp_path / "bare" / WEIGHTS)
    shutil.copy(tmp_path / "bare" / WEIGHTS, tmp_path / WEIGHTS)
    for dtype in ("fp32", "int8"):
        load(tmp_path, device="cpu", dtype=dtype)
    assert_same_logits(loaded(tmp_path).model, model)


@pytest.mark.parametrize("name", ["rotary_emb.inv_freq", "layers.1.self_attn.rotary_emb.inv_freq"])
def test_what_every_reader_computes_is_left_out(folder, llama, name):
    rewrite(folder, lambda weights: weights | {f"model.{name}": torch.ones(8)})
    assert_same_logits(loaded(folder).model, llama)


def test_of_a_single_file_and_an_index_the_single_file_counts(tiny, llama, tmp_path):
    """What is merged is written so, beside the shards of what it was merged from."""
    other = tiny.llama(initializer_range=0.1)
    folder = tiny.save_folder(tmp_path / "m", other, max_shard_size="100KB")
    assert (folder / INDEX).is_file() and not (folder / WEIGHTS).exists()
    tiny.save_folder(tmp_path / "merged", llama)
    shutil.copy(tmp_path / "merged" / WEIGHTS, folder / WEIGHTS)
    theirs = LlamaForCausalLM.from_pretrained(folder)
    assert_same_logits(loaded(folder).model, llama)
    assert torch.equal(theirs.get_input_embeddings().weight, llama.get_input_embeddings().weight)


@pytest.mark.parametrize(
    "config",
    [TINY, ModelConfig(97, 48, 3, 6, 3, 8, 72, 128, rope_base=5e5, norm_eps=1e-6, tied=False)],
)
def test_a_written_configuration_is_read_back(tmp_path, config):
    write_config(config, tmp_path, [2, 5])
    assert read_config(tmp_path) == config
    assert read_eos_ids(tmp_path) == [2, 5]


@pytest.mark.parametrize(
    ("generation", "config", "ids"),
    [(7, 2, [7]), ([7, 8], 2, [7, 8]), (None, 2, [2]), ("absent", [2, 3], [2, 3]), (0, 2, [0])],
)
def test_generation_config_goes_before_config_on_what_ends_a_text(folder, generation, config, ids):
    edit_config(folder, {"eos_token_id": config})
    path = folder / "generation_config.json"
    path.unlink()
    if generation != "absent":
        path.write_text(json.dumps({"eos_token_id": generation}), "utf-8")
    assert loaded(folder).eos_ids == tuple(ids)


def test_a_folder_that_names_no_end_has_none(folder):
    edit_config(folder, {}, without=("eos_token_id",))
    (folder / "generation_config.json").unlink()
    assert read_eos_ids(folder) == []


# --- what is refused ---


def refused(tiny, folder, *parts):
    with tiny.guarded():
        message = tiny.refusal(lambda: loaded(folder))
    assert message is not None, "it was loaded"
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"model_type": "qwen2"}, ["self_attn.q_proj.bias"]),
        ({"model_type": "gemma"}, ["'gemma'", "'llama'"]),
        ({"model_type": None}, ["None", "'llama'"]),
        ({"hidden_act": "gelu"}, ["hidden_act", "'gelu'"]),
        ({"attention_bias": True}, ["attention_bias", "True"]),
        ({"mlp_bias": True}, ["mlp_bias", "True"]),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}},
            ["rope_parameters.low_freq"],
        ),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, ["rope_scaling.factor"]),
        ({"rope_parameters": ["default"]}, ["rope", "default"]),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, ["rope_scaling", "'linear'"]),
        ({"rope_scaling": {"factor": 2.0}}, ["rope_scaling", "'factor'"]),
        ({"rope_scaling": "linear"}, ["rope_scaling", "'linear'"]),
        ({"rope_scaling": {"rope_theta": 7.0}}, ["7.0 in rope_scaling", "100000.0"]),
        ({"rope_theta": 7.0}, ["7.0 in rope_theta", "100000.0 in rope_parameters"]),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, ["full_attention"]),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, ["partial_rotary_factor"]),
        ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor"]),
        ({"rope_parameters": {"rope_theta": float("inf")}}, ["rope_theta", "inf"]),
        ({"rope_parameters": {"rope_theta": 1e200}}, ["rope_base", "fp32"]),
        ({"rope_parameters": {"rope_theta": -5.0}}, ["rope_base", "positive"]),
        ({"rope_parameters": {"rope_theta": True}}, ["rope_theta", "True"]),
        ({"rms_norm_eps": float("inf")}, ["rms_norm_eps", "inf"]),
        ({"rms_norm_eps": 1e-300}, ["norm_eps", "fp32"]),
        ({"rms_norm_eps": -1e-5}, ["norm_eps", "positive"]),
        ({"rms_norm_eps": True}, ["rms_norm_eps", "True"]),
        ({"rms_norm_eps": "1e-5"}, ["rms_norm_eps", "'1e-5'"]),
        ({"quantization_config": {"quant_method": "fp8"}}, ["quantization_config", "fp8"]),
        ({"tie_word_embeddings": "false"}, ["tie_word_embeddings", "'false'"]),
        ({"attention_bias": "no"}, ["attention_bias", "'no'"]),
        ({"num_hidden_layers": 1}, ["model.layers.1.", "1 layers"]),
        ({"vocab_size": "9" * 5000}, ["vocab_size"]),
        ({"eos_token_id": True}, ["eos_token_id", "True"]),
        ({"eos_token_id": 5000}, ["5000", "end a text"]),
        ({"eos_token_id": [2, -1]}, ["-1", "end a text"]),
        ({"rope_parameters": {"rope_theta": "high"}}, ["rope_theta", "'high'"]),
        ({"num_hidden_layers": "two"}, ["num_hidden_layers", "'two'"]),
        ({"num_hidden_layers": True}, ["num_hidden_layers", "True"]),
        ({"num_hidden_layers": 2.5}, ["num_hidden_layers", "2.5", "whole"]),
        ({"num_hidden_layers": 3}, ["model.layers.2.input_layernorm.weight"]),
        ({"num_hidden_layers": 10**9}, ["model.layers.2.input_layernorm.weight"]),
        ({"hidden_size": 64.0}, ["hidden_size", "whole"]),
        ({"hidden_size": 2**40}, ["config"]),
        ({"hidden_size": 10**30}, ["config"]),
        ({"vocab_size": 0}, ["vocabulary", "positive"]),
        ({"num_attention_heads": 0}, ["heads", "positive"]),
        ({"num_key_value_heads": 3}, ["KV heads"]),
        ({"head_dim": 15}, ["head_dim", "even"]),
        ({"rms_norm_eps": float("nan")}, ["rms_norm_eps", "nan"]),
        ({"rope_parameters": None, "rope_theta": 10**400}, ["rope_theta"]),
        ({"tie_word_embeddings": False}, ["lm_head.weight"]),
        ({"eos_token_id": "end"}, ["eos_token_id", "'end'"]),
        ({"eos_token_id": [2, 2.5]}, ["eos_token_id", "2.5"]),
    ],
    ids=str,
)
def test_a_configuration_that_is_not_supported_is_named(tiny, folder, changes, parts):
    (folder / "generation_config.json").unlink()
    edit_config(folder, changes)
    refused(tiny, folder, str(folder), *parts)


@pytest.mark.parametrize(
    "key",
    ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"],
)
def test_a_missing_number_is_named(tiny, folder, key):
    edit_config(folder, {}, without=(key,))
    refused(tiny, folder, str(folder / "config.json"), key, "number")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"no JSON",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": 1, "a": 1}',
        b'{"a": 1' + b"1" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_file_that_is_no_json_is_named(tiny, folder, name, text):
    (folder / name).write_bytes(text)
    refused(tiny, folder, str(folder / name), "copy it again")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"llama"'])
def test_json_that_is_no_object_is_named(tiny, folder, text):
    (folder / "config.json").write_text(text, "utf-8")
    refused(tiny, folder, str(folder / "config.json"), "JSON object")


def test_a_configuration_that_cannot_be_read_is_named(tiny, folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refused(tiny, folder, str(folder / "config.json"), "can't be read")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tiny, folder, name):
    (folder / name).unlink()
    refused(tiny, folder, str(folder), name)


def test_a_missing_shard_is_named(tiny, llama, tmp_path):
    folder = tiny.save_folder(tmp_path / "m", llama, max_shard_size="100KB")
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    shard.unlink()
    refused(tiny, folder, shard.name)


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": ["model.safetensors"]},
        {"weight_map": {"a": "../model.safetensors"}},
        {"weight_map": {"a": "/etc/hostname"}},
        {"weight_map": {"a": 3}},
        {"weight_map": {"a": "x" * 5000}},
        {"weight_map": {"a": "x" * 255}},
        {"weight_map": {"a": "a\0b"}},
        {"weight_map": {"a": ".."}},
        {"weight_map": {"a": ""}},
        {"weight_map": {}},
    ],
    ids=lambda index: repr(index)[:60],
)
def test_a_wrong_index_is_refused(tiny, folder, index):
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    (folder / INDEX).write_text(json.dumps(index), "utf-8")
    refused(tiny, folder, str(folder))


def test_a_shard_that_holds_another_tensor_is_refused(tiny, llama, tmp_path):
    folder = tiny.save_folder(tmp_path / "m", llama, max_shard_size="100KB")
    one, *_, other = sorted(folder.glob("model-*.safetensors"))
    name, tensor = next(iter(load_file(other).items()))
    whole = load_file(one)
    save_file(whole | {name: tensor + 1}, one)
    refused(tiny, folder, str(one), f"holds the tensor {name}", "do not belong together")
    gone = min(whole)
    save_file({n: t for n, t in whole.items() if n != gone}, one)
    refused(tiny, folder, str(one), f"lacks the tensor {gone}", "do not belong together")


def test_a_missing_tensor_is_named(tiny, folder):
    gone = "model.layers.1.mlp.down_proj.weight"
    rewrite(folder, lambda weights: {n: t for n, t in weights.items() if n != gone})
    refused(tiny, folder, gone)


def test_a_misshapen_tensor_is_named_with_both_shapes(tiny, folder):
    rewrite(folder, lambda weights: weights | {"model.norm.weight": torch.ones(65)})
    refused(tiny, folder, "model.norm.weight", "(65,)", "(64,)")


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.layers.0.self_attn.q_proj.weight_scale",
        "model.layers.0.self_attn.q_proj.SCB",
        "model.layers.2.input_layernorm.weight",
        "model.layers.00.input_layernorm.weight",
        "model.layers.0.norm.weight",
        "model.input_layernorm.weight",
        "norm.weight",
        "visual.patch_embed.weight",
        "x" * 5000,
    ],
    ids=lambda name: name[:60],
)
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_a_tensor_without_a_place_is_named(tiny, folder, name, dtype):
    rewrite(folder, lambda weights: weights | {name: torch.ones(64)})
    message = tiny.refusal(lambda: load(folder, device="cpu", dtype=dtype))
    assert name[:80] in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "kind", [torch.float8_e4m3fn, torch.int8, torch.uint8, torch.int64, torch.bool], ids=str
)
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_numbers_that_stand_for_others_are_refused(tiny, folder, kind, dtype):
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(folder, lambda weights: weights | {name: weights[name].to(kind)})
    message = tiny.refusal(lambda: load(folder, device="cpu", dtype=dtype))
    assert name in message
    assert "F64, F32, F16, BF16" in message


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e300])
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
def test_values_that_fp32_cannot_hold_are_refused(tiny, folder, value, dtype, name):
    def change(weights):
        kind = torch.float64 if value == 1e300 else torch.bfloat16
        weights[name] = weights[name].to(kind)
        weights[name].view(-1)[7] = value

    rewrite(folder, change)
    message = tiny.refusal(lambda: load(folder, device="cpu", dtype=dtype))
    assert f"tensor {name} has values that are not numbers, or infinite" in message


def test_an_adapter_is_refused(tiny, folder):
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    refused(tiny, folder, "adapter", "merge")


# --- files that are damaged anywhere ---


def test_truncated_weights_are_refused(tiny, folder):
    path = folder / WEIGHTS
    raw = path.read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    for end in (0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(raw) - 1):
        path.write_bytes(raw[:end])
        refused(tiny, folder, str(path), f"{end:,} bytes")


@pytest.mark.parametrize("length", [0, 2**20, 2**31, 2**60, 2**63, 2**64 - 1])
def test_a_wrong_header_length_is_refused_at_once(tiny, folder, length):
    path = folder / WEIGHTS
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(tiny, folder, str(path))


DAMAGED = {
    "model.safetensors": 3,
    "config.json": 1,
    "generation_config.json": 1,
    "tokenizer_config.json": 1,
    "tokenizer.json": 7,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_flipped_bit_is_refused_or_harmless(tiny, folder, name):
    path, draw = folder / name, random.Random(0)
    raw = path.read_bytes()
    end = len(raw)
    if name == "model.safetensors":
        end = 8 + int.from_bytes(raw[:8], "little")  # of the data, any bits are numbers
    outcomes = set()
    for at in range(0, end, DAMAGED[name]):
        damaged = bytearray(raw)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with tiny.guarded():
            outcomes.add(tiny.refusal(lambda: loaded(folder)) is None)
    assert False in outcomes


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(data=st.data())
def test_any_value_in_the_configuration_is_refused_or_harmless(tiny, whole, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "any_value"
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    key = data.draw(st.sampled_from(sorted(json.loads((whole / "config.json").read_text("utf-8")))))
    edit_config(folder, {key: data.draw(JSON_VALUES)})
    with tiny.guarded():
        tiny.refusal(lambda: loaded(folder))


@given(config=JSON_VALUES)
@example(config={"chat_template": [{"name": "default"}]})
@example(config={"chat_template": [3]})
@example(config={"bos_token": {}})
@example(config=[])
def test_any_tokenizer_configuration_is_refused_or_harmless(tiny, whole, tmp_path_factory, config):
    folder = tmp_path_factory.getbasetemp() / "any_tokenizer_config"
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    with tiny.guarded():
        tiny.refusal(lambda: loaded(folder))


def test_a_damaged_folder_is_a_model_file_error(folder):
    (folder / "config.json").write_text("{", "utf-8")
    with pytest.raises(ModelFileError):
        loaded(folder)

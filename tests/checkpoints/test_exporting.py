"""What is written, read again: by ourselves, by the `gguf` package, by transformers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import gguf
import pytest
import torch
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from decodeloop.checkpoints.gguf_file import GGUFFile
from decodeloop.checkpoints.gguf_writing import pieces_name
from decodeloop.checkpoints.weights import hub_name
from decodeloop.decode import generate
from decodeloop.errors import ModelFileError, UserError
from decodeloop.exporting import export, hub_weights, write_folder
from decodeloop.finding import found
from decodeloop.loading import load
from decodeloop.model import Decoder

IDS = torch.tensor([[5, 40, 7, 7, 99]])
TEXT = "hello world, hell or 12345 <|im_end|>\n"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(tiny, tmp_path_factory, request):
    llama = tiny.llama(tie_word_embeddings=request.param)
    return tiny.save_folder(tmp_path_factory.mktemp("hub") / "model", llama)


@pytest.fixture(scope="module")
def original(folder):
    return load(folder, device="cpu", compiled=False)


def same_tokenizer(one, other):
    assert one.tokenizer.encode(TEXT, beginning=True) == other.tokenizer.encode(
        TEXT, beginning=True
    )
    assert one.tokenizer.chat_template == other.tokenizer.chat_template
    assert one.eos_ids == other.eos_ids


def test_a_gguf_file_holds_the_same_model(folder, original, tmp_path):
    again = load(export(folder, tmp_path / "m.gguf"), device="cpu", compiled=False)
    assert again.config == original.config
    for name, tensor in original.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    same_tokenizer(again, original)


@pytest.mark.parametrize("dtype", ["q8_0", "q4_0"])
def test_a_quantized_file_is_what_the_gguf_package_writes(folder, tiny, tmp_path, dtype):
    path = export(folder, tmp_path / "m.gguf", dtype)
    kinds = {}
    llama = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stored = tiny.tensors(llama.requires_grad_(False))
    for tensor in gguf.GGUFReader(path).tensors:
        kind = tensor.tensor_type
        kinds[tensor.name] = kind.name
        expected = stored[tensor.name]
        if expected.ndim == 2:
            expected = dequantize(gguf.quants.quantize(expected, kind), kind)
        assert (dequantize(tensor.data, kind) == expected).all(), tensor.name
    assert set(kinds) == set(stored)
    assert kinds["blk.0.ffn_up.weight"] == dtype.upper()
    assert kinds["token_embd.weight"] == "Q8_0" and kinds["output_norm.weight"] == "F32"


def test_reordered_channels_are_the_same_function(folder, original, tmp_path):
    made = export(folder, tmp_path / "made", reordered=True)
    again = load(made, device="cpu", compiled=False)
    name = "layers.0.feed_forward.down.weight"
    old, new = (model.model.state_dict()[name] for model in (original, again))
    assert not torch.equal(old, new)
    assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    with torch.inference_mode():
        torch.testing.assert_close(again.model(IDS), original.model(IDS), rtol=1e-4, atol=1e-4)


def test_a_q4_0_file_is_read_as_it_is(folder, tmp_path):
    """Rounding what had 4 bits already changes no bit: the largest of each group was -8. The head
    was rounded to 8 bits by other groups."""
    path = export(folder, tmp_path / "m.gguf", "q4_0")
    ours, theirs = (load(x, device="cpu", dtype="int4", compiled=False) for x in (folder, path))
    for name in ("layers.0.attention.query", "layers.1.feed_forward.down"):
        one, other = (m.model.get_submodule(name).matrix for m in (ours, theirs))
        assert torch.equal(one.packed, other.packed) and torch.equal(one.scale, other.scale)
    with torch.inference_mode():
        expected, logits = ours.model(IDS), theirs.model(IDS)
    assert float((logits - expected).norm() / expected.norm()) < 0.1


def test_a_folder_is_read_by_transformers(folder, original, tmp_path):
    made = export(folder, tmp_path / "made")
    theirs = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected, ours = theirs(IDS).logits, original.model(IDS)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert tokenizer(TEXT, add_special_tokens=False).input_ids == original.tokenizer.encode(TEXT)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_quantized_folder_comes_back_as_what_it_was(folder, tmp_path, dtype):
    made = export(folder, tmp_path / "made", dtype)
    expected = load(folder, device="cpu", dtype=dtype)
    again = load(made, device="cpu")  # as it was written, without a word
    assert type(again.model.layers[0].attention.query) is type(
        expected.model.layers[0].attention.query
    )
    with torch.inference_mode():
        torch.testing.assert_close(again.model(IDS), expected.model(IDS), rtol=1e-5, atol=1e-5)
    same_tokenizer(again, expected)
    whole = load(made, device="cpu", dtype="fp32", compiled=False)
    full = load(folder, device="cpu", compiled=False)
    name = "layers.0.feed_forward.down.weight"
    error = (whole.model.state_dict()[name] - full.model.state_dict()[name]).norm()
    assert (
        0
        < float(error / full.model.state_dict()[name].norm())
        < {"int8": 0.02, "int4": 0.15}[dtype]
    )
    weights = load_file(made / "model.safetensors")
    size = sum(tensor.nbytes for tensor in weights.values())
    assert size < {"int8": 0.3, "int4": 0.3}[dtype] * 4 * sum(
        tensor.numel() for tensor in full.model.parameters()
    )


def test_a_narrowed_decoder_is_saved_and_loaded(folder, original, tmp_path):
    config = replace(original.config, layers=1, feed_forward=32, heads=2, kv_heads=1)
    narrow = Decoder(config).eval()
    parts = original.tokenizer, original.eos_ids
    for dtype in ("fp32", "bf16", "int8", "int4"):
        write_folder(tmp_path / dtype, hub_weights(narrow), config, *parts, dtype=dtype)
    with torch.inference_mode():
        expected = narrow(IDS)
        torch.testing.assert_close(load(tmp_path / "fp32", device="cpu").model(IDS), expected)
        for dtype in ("bf16", "int8", "int4"):
            again = load(tmp_path / dtype, device="cpu").model
            assert again.config == config
            assert float((again(IDS) - expected).norm() / expected.norm()) < 0.3


def broken(folder, tmp_path, change):
    made = export(folder, tmp_path / "made", "int4")
    weights = load_file(made / "model.safetensors")
    change(weights)
    save_file(weights, made / "model.safetensors")
    return made


NAME = hub_name("layers.1.feed_forward.up.weight")
BREAKS = {
    "no scales": (lambda w: w.pop(f"{NAME}_scale"), r"has no scales for the tensor .*up_proj"),
    "NaN": (lambda w: w[f"{NAME}_scale"].fill_(torch.nan), r"scales .* are not all numbers"),
    "a row less": (
        lambda w: w.update({f"{NAME}_scale": w[f"{NAME}_scale"][1:].clone()}),
        r"up_proj.weight_scale has shape \(95, 2\), the configuration asks for \(96, 2\)",
    ),
    "another width": (
        lambda w: w.update({f"{NAME}_packed": w[f"{NAME}_packed"][:, 1:].clone()}),
        r"up_proj.weight has shape \(96, 31\), the configuration asks for \(96, 32\)",
    ),
    "a stranger": (lambda w: w.update(x=torch.ones(1)), r"a tensor x that its architecture"),
    "no matrix": (lambda w: w.pop(f"{NAME}_packed"), r"lacks the tensor .*up_proj"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_what_is_wrong_with_a_quantized_folder_is_one_sentence(folder, tmp_path, change, message):
    with pytest.raises(ModelFileError, match=message):
        load(broken(folder, tmp_path, change), device="cpu")


def test_other_quantizations_are_refused_as_before(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "model")
    config = json.loads((copied / "config.json").read_text("utf-8"))
    for told in ({"quant_method": "gptq"}, {"quant_method": "decodeloop", "bits": [8]}, "x"):
        config["quantization_config"] = told
        (copied / "config.json").write_text(json.dumps(config), "utf-8")
        with pytest.raises(ModelFileError, match="quantization_config"):
            load(copied, device="cpu")


def test_bad_asks(folder, tmp_path):
    out = tmp_path / "made"
    with pytest.raises(UserError, match=r"--dtype is 'int8': expected one of fp32, q8_0, q4_0"):
        export(folder, tmp_path / "m.gguf", "int8")
    with pytest.raises(UserError, match=r"--dtype is 'q4_0': expected one of fp32, bf16, .* int4"):
        export(folder, out, "q4_0")
    out.mkdir()
    with pytest.raises(UserError, match=r"made is there already: remove it"):
        export(folder, out)
    with pytest.raises(UserError, match=r"no is no folder: make it first"):
        export(folder, tmp_path / "no" / "m.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["made"]  # nothing is left


def test_rows_that_blocks_do_not_divide_are_named(tiny, tmp_path):
    odd = tiny.save_folder(tmp_path / "odd", tiny.llama(intermediate_size=72))
    with pytest.raises(UserError, match=r"its feed-forward width is 72: expected a multiple of 32"):
        export(odd, tmp_path / "m.gguf", "q4_0")
    assert GGUFFile(export(odd, tmp_path / "m.gguf")).config.feed_forward == 72
    small = load(odd, device="cpu", dtype="int4")  # our own fill up
    assert len(list(generate(small.model, IDS, 5, eos_ids=()))) == 5


def test_a_tokenizer_without_a_name_in_the_format_is_refused(folder):
    with pytest.raises(UserError, match="cuts text in a way that has no name here"):
        pieces_name({"type": "Whitespace"})
    raw = found(folder).tokenizer.as_dict()["pre_tokenizer"]
    assert pieces_name(raw) == "smollm"

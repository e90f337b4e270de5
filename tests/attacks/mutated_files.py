"""Model files that are damaged, wrong or hostile: each loads as what it is, or is refused.

    python tests/attacks/mutated_files.py [--count N] [--seed S] [--only NUMBER]

makes N changed models out of tiny ones (a hub folder, one in shards, GGUF files), all of them by
seed, and has each loaded by a process with a limit of time and memory. Good ends are one
`UserError`, or the very model: the same logits, tokens, conversation and ends of a text as the
model that was changed, or as an independent reader makes of the changed files (`transformers` of
a folder; the `gguf` package and `transformers`' Llama of a GGUF file). All others are printed, and
the exit status is 1: a traceback, a hang, a dead process, memory without limit, another model.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # where tiny_models lies

HELLO = [{"role": "user", "content": "hello 12"}]
IDS = (5, 40, 7, 7, 260, 1, 99, 12, 200, 33)
TEXT = "hello world, 12 é"
SECONDS = 30  # for one model; it takes a hundredth of one
MEMORY = 2 << 30  # bytes, beyond what the process has at its start
BATCH = 40  # models that are made, then loaded, then deleted


@dataclass(frozen=True)
class Attack:
    """A changed model: where it lies, and what was done to it."""

    number: int
    path: Path
    what: str


@dataclass(frozen=True)
class Outcome:
    """What became of it: `refused`, `loaded`, `traceback`, `hang`, `died`."""

    end: str
    told: Any  # the message; or what the model says, as `speech` gives it


# --- the process that loads ---


def speech(llm: Any) -> dict[str, Any]:
    """What a loaded model does with a few tokens, a text and a conversation."""
    import torch

    V = llm.config.vocabulary
    ids = torch.tensor([[i % V for i in IDS]])
    with torch.inference_mode():
        logits = llm.model(ids)[0, -1]
    return {
        "logits": logits.tolist(),
        "ids": llm.tokenizer.encode(TEXT),
        "raw": llm.prompt_ids(TEXT, raw=True),
        "chat": llm.tokenizer.chat(HELLO),
        "decoded": llm.tokenizer.decode(list(range(min(V, 40))), skip_special=True),
        "eos": sorted(llm.eos_ids),
        "context": llm.config.context,
    }


def child() -> None:
    """Load each path that a line of the input names, and write what became of it."""
    import resource
    import traceback

    from decodeloop.checkpoints import chat_template
    from decodeloop.errors import UserError
    from decodeloop.loading import load

    chat_template.SECONDS = 2.0
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        signal.alarm(SECONDS)  # nobody handles it: it ends this process
        try:
            end, told = "loaded", speech(load(line.rstrip("\n"), device="cpu", compiled=False))
        except UserError as error:
            message = str(error)
            whole = message.endswith(".") and "\n" not in message and len(message) < 2000
            end, told = ("refused" if whole else "traceback"), message
        except BaseException:
            end, told = "traceback", traceback.format_exc()
        signal.alarm(0)
        print(json.dumps([end, told]), flush=True)


class Loader:
    """The loading process, started anew when it dies."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> Outcome:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return Outcome(*json.loads(line))
        code = self.process.wait()
        self.process = None
        return Outcome("hang" if code == -signal.SIGALRM else "died", f"exit status {code}")

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()


# --- independent readers ---


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two models say the same."""
    logits = zip(one["logits"], other["logits"], strict=False)
    return (
        all(one[key] == other[key] for key in other if key != "logits")
        and len(one["logits"]) == len(other["logits"])
        and all(abs(a - b) <= 1e-3 + 1e-3 * abs(b) or str(a) == str(b) for a, b in logits)
    )


def reader_of_folders(folder: Path) -> dict[str, Any]:
    """What `transformers` makes of a folder."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    raw = json.loads((folder / "config.json").read_text("utf-8"))
    raw |= {"rms_norm_eps": float(raw.get("rms_norm_eps", 1e-6))}  # it refuses 7 for 7.0
    (folder / "config.json").write_text(json.dumps(raw), "utf-8")
    config = LlamaConfig.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    try:
        eos = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        eos = None
    eos = raw.get("eos_token_id") if eos is None else eos
    some = list(range(min(config.vocab_size, 40)))
    chat = tokenizer.apply_chat_template(HELLO, tokenize=False, add_generation_prompt=True)
    return {
        "logits": last_logits(model),
        "chat": chat,
        "decoded": tokenizer.decode(some, skip_special_tokens=True),
        "ids": tokenizer(TEXT, add_special_tokens=False).input_ids,
        "raw": tokenizer(TEXT).input_ids,
        "eos": sorted([eos] if isinstance(eos, int) else eos or []),
        "context": config.max_position_embeddings,
    }


def last_logits(model: Any) -> list[float]:
    """What `transformers` computes where `speech` looks."""
    import torch

    ids = torch.tensor([[i % model.config.vocab_size for i in IDS]])
    with torch.inference_mode():
        logits: list[float] = model(ids).logits[0, -1].tolist()
    return logits


def reader_of_gguf(path: Path) -> dict[str, Any]:
    """What the `gguf` package reads, computed by `transformers`' Llama, without the tokenizer."""
    import gguf
    import numpy as np
    import torch
    from gguf.quants import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    heads = fields["llama.attention.head_count"]
    width = fields["llama.embedding_length"]
    config = LlamaConfig(
        vocab_size=tensors["token_embd.weight"].shape[0],
        hidden_size=width,
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=fields.get("llama.attention.head_count_kv", heads),
        head_dim=fields.get("llama.attention.key_length", width // heads),
        intermediate_size=fields["llama.feed_forward_length"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={
            "rope_type": "default",
            "rope_theta": fields.get("llama.rope.freq_base", 10_000.0),
        },
        tie_word_embeddings="output.weight" not in tensors,
    )
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    model = LlamaForCausalLM(config).eval()
    state = {}
    for name in model.state_dict():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensors[names.get_name(name, try_suffixes=(".weight",))]
        for part, count in (("q_proj", heads), ("k_proj", config.num_key_value_heads)):
            if part in name:
                rows = array.reshape(count, config.head_dim // 2, 2, *array.shape[1:])
                array = rows.swapaxes(1, 2).reshape(array.shape)
        state[name] = torch.tensor(array)
    model.load_state_dict(state, strict=not config.tie_word_embeddings)
    ends = [fields.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom")]
    return {
        "logits": last_logits(model),
        "eos": sorted({end for end in ends if end is not None}),
        "context": config.max_position_embeddings,
    }


def verdict(attack: Attack, outcome: Outcome, original: dict[str, Any]) -> str:
    """What is bad about an outcome; nothing, if it is a good one."""
    if outcome.end == "refused":
        return ""
    if outcome.end != "loaded":
        return f"{outcome.end}: {outcome.told}"
    if same(outcome.told, original):
        return ""
    try:
        read = reader_of_folders if attack.path.is_dir() else reader_of_gguf
        expected = read(attack.path)
    except Exception as error:
        return f"another model, which an independent reader refuses: {error!r:.300}"
    if same(outcome.told, expected):
        return ""
    told = {k: v for k, v in expected.items() if k != "logits" and v != outcome.told[k]}
    return f"another model than an independent reader makes of it: {told or 'other logits'}"


# --- the changes ---

Draw = random.Random
CHANGES: dict[str, list[tuple[float, Callable[[Draw, Path], str]]]] = {
    "folder": [],
    "shards": [],
    "gguf": [],
}
DEEP = json.loads("[" * 200 + "]" * 200)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 0.5, 1e-300, 1e39, 1e308, 10**30, 2**31, 2**63),
    *(float("inf"), float("nan"), "", "x", "2", "x" * 5000, "\x00\x1b[31m\n", "default", "llama"),
    *([], [2], [[]], {}, {"a": 1}, {"type": "linear", "factor": 2.0}, DEEP),
)
SIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
NEW_KEYS: dict[str, tuple[Any, ...]] = {
    "quantization_config": ({"quant_method": "fp8"}, {"load_in_8bit": True}, None, {}),
    "rope_scaling": (
        *(
            {"type": "linear", "factor": 2.0},
            {"rope_type": "llama3"},
            {"factor": 4},
            None,
            "linear",
        ),
        *({"rope_theta": 5.0}, {"rope_type": "default"}, [1], {"rope_type": "dynamic"}),
    ),
    "rope_theta": (5.0, 100_000.0, float("inf"), "high", -1),
    "partial_rotary_factor": (0.5, 1.0),
    "attention_bias": (True, False, "yes"),
    "mlp_bias": (True, 1),
    "head_dim": (8, 16, 32, 15),
    "hidden_act": ("gelu", "silu"),
    "tie_word_embeddings": (False, True, "false"),
    "eos_token_id": ([0, 1], 1, [999], True, -1, "2"),
    "bos_token_id": (0, "x"),
    "sliding_window": (4,),
    "add_bos_token": (True, False),
    "bos_token": (None, {"content": "<|im_end|>"}, {}, 3),
    "chat_template": ("", "{{ x }}", [], [{"name": "default", "template": "a"}], 3, {}),
    "model_max_length": (3,),
    "truncation_side": ("left",),
    "padding_side": ("left",),
}
TEMPLATES = (
    *("{{ 1/0 }}", "{{ 'a' + 1 }}", "{% include 'x' %}", "{% for %}", "{{ '%1000000000d' % 1 }}"),
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% set x = 'a' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% for m in messages %}{{ m | tojson }}{% if loop.first %}{% break %}{% endif %}{% endfor %}",
    "{{ bos_token }}{{ tools }}{{ documents is none }}{{ unk_token is defined }}",
    *("{{ messages[5].content }}", "{{ raise_exception('no\nmore') }}", "{{ (" * 2000),
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ 'a' | center(2000000000) }}",
    "{{ messages[0].content * 10 ** 9 }}",
)


def change(*kinds: str, weight: float = 1.0) -> Callable[..., Any]:
    """Register a change of models of these kinds."""

    def register(function: Callable[[Draw, Path], str]) -> Callable[[Draw, Path], str]:
        for kind in kinds:
            CHANGES[kind].append((weight, function))
        return function

    return register


def spoil(draw: Draw, path: Path, end: int | None = None) -> str:
    """Change bytes of a file, before `end`."""
    raw = bytearray(path.read_bytes())
    end = len(raw) if end is None else min(end, len(raw))
    at = draw.randrange(end)
    how = draw.choice(("flip", "flip", "flip", "random", "cut", "grow", "insert", "delete", "zero"))
    if how == "flip":
        raw[at] ^= 1 << draw.randrange(8)
    elif how == "random":
        raw[at : at + 8] = draw.randbytes(min(8, len(raw) - at))
    elif how == "cut":
        del raw[at:]
    elif how == "grow":
        raw += draw.randbytes(draw.choice((1, 7, 64, 4096)))
    elif how == "insert":
        raw[at:at] = draw.randbytes(draw.randrange(1, 9))
    elif how == "delete":
        del raw[at : at + draw.randrange(1, 9)]
    else:
        raw[at : at + 16] = bytes(min(16, len(raw) - at))
    path.write_bytes(raw)
    return f"{how} at {at} of {path.name}"


def special_file(draw: Draw, path: Path) -> str:
    """Put in a file's place what is none, or one that is too much."""
    kinds = ["folder", "pipe", "device", "nowhere", "loop", "sparse", "gone", "empty", "text"]
    kind = draw.choice(kinds)
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/full")  # endless zeros, as /dev/zero
    elif kind == "nowhere":
        path.symlink_to(path.parent / "nothing here")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.write(draw.choice((b"", b"GGUF\3\0\0\0", b"{", bytes(8), b"\xff" * 7)))
            file.truncate(1 << draw.choice((31, 40)))
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_bytes(draw.choice((b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"[" * 99_999, b"{}")))
    return f"{path.name} is {kind}"


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """All containers of a JSON value, each with a key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def odd_value(draw: Draw, old: Any) -> Any:
    if isinstance(old, int | float) and draw.random() < 0.4:
        return draw.choice((old + 1, old - 1, 2 * old, -old, float(old), str(old), [old], old / 2))
    return draw.choice(ODD)


def change_json(draw: Draw, path: Path, deep: bool = True) -> str:
    """Put an odd value somewhere, or drop or repeat something."""
    value = json.loads(path.read_text("utf-8"))
    places = list(nodes(value)) if deep else [(value, key) for key in value]
    if not places:
        return "nothing"
    holder, key = draw.choice(places)
    how = draw.random()
    old = holder[key]
    if how < 0.15:
        del holder[key]
        told = f"without {key!r:.60}"
    elif how < 0.25 and isinstance(holder, list):
        holder += holder[: draw.choice((1, 3))]
        told = f"the list with {key} grows"
    else:
        holder[key] = odd_value(draw, old)
        told = f"{key!r:.60}: {old!r:.60} → {holder[key]!r:.60}"
    path.write_text(json.dumps(value), "utf-8")
    return f"{path.name}: {told}"


@change("folder", "shards", weight=5)
def a_value_of_the_configuration(draw: Draw, folder: Path) -> str:
    return change_json(draw, folder / "config.json", deep=draw.random() < 0.3)


@change("folder", weight=3)
def a_value_of_another_file(draw: Draw, folder: Path) -> str:
    return change_json(draw, folder / draw.choice(SIDE[1:4]))


@change("folder", weight=3)
def a_part_of_the_tokenizer(draw: Draw, folder: Path) -> str:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text("utf-8"))
    part = draw.choice([key for key in value if key not in ("version",)])
    training = {
        "truncation": {
            "direction": "Right",
            "max_length": 3,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 10**8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "x",
        },
        "normalizer": {"type": "Replace", "pattern": {"String": "l"}, "content": "x" * 10**4},
        "decoder": {"type": "Replace", "pattern": {"Regex": "(l|l)*$"}, "content": "x"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "(l|l)*$"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [],
            "special_tokens": {
                "<|im_start|>": {
                    "id": "<|im_start|>",
                    "ids": [draw.choice((1, 1, 5000))],
                    "tokens": ["<|im_start|>"],
                }
            },
        },
        "added_tokens": [{"id": 10**6, "content": "hell", "special": True}],
        "model": {"type": "WordLevel", "vocab": {"hello": 1, "q": 2**31}, "unk_token": "[UNK]"},
    }
    if draw.random() < 0.5 or not value.get(part):
        value[part] = training[part]
    else:
        holder, key = draw.choice(list(nodes(value[part])))
        holder[key] = odd_value(draw, holder[key])
    path.write_text(json.dumps(value), "utf-8")
    return f"tokenizer.json: another {part}"


@change("folder", "shards", weight=3)
def a_new_key(draw: Draw, folder: Path) -> str:
    name = draw.choice((*SIDE[:2], *SIDE[3:5], "config.json", "adapter_config.json"))
    path, key = folder / name, draw.choice(list(NEW_KEYS))
    value = json.loads(path.read_text("utf-8")) if path.exists() else {}
    value[key] = draw.choice(NEW_KEYS[key])
    text = json.dumps(value)
    if draw.random() < 0.1:
        text = text[:-1] + f', "{key}": 1' + "}"
    path.write_text(text, "utf-8")
    return f"{name}: {key} = {value[key]!r:.60}"


@change("folder", weight=2)
def another_template(draw: Draw, folder: Path) -> str:
    template = draw.choice(TEMPLATES)
    if draw.random() < 0.5:
        (folder / "chat_template.jinja").write_text(template, "utf-8")
    else:
        path = folder / "tokenizer_config.json"
        value = json.loads(path.read_text("utf-8")) | {"chat_template": template}
        path.write_text(json.dumps(value), "utf-8")
    return f"the template {template!r:.60}"


@change("folder", weight=2)
def bytes_of_a_side_file(draw: Draw, folder: Path) -> str:
    return spoil(draw, folder / draw.choice(SIDE[:4]))


@change("folder", "shards", weight=2)
def a_special_file(draw: Draw, folder: Path) -> str:
    present = sorted(p.name for p in folder.iterdir())
    return special_file(draw, folder / draw.choice((*present, *SIDE)))


def weight_file(draw: Draw, folder: Path) -> Path:
    return draw.choice(sorted(folder.glob("*.safetensors")))


@change("folder", "shards", weight=3)
def bytes_of_the_weights_header(draw: Draw, folder: Path) -> str:
    path = weight_file(draw, folder)
    return spoil(draw, path, 8 + int.from_bytes(path.read_bytes()[:8], "little"))


@change("folder", "shards", weight=4)
def the_weights_header(draw: Draw, folder: Path) -> str:
    """Names, types, shapes and offsets, as JSON."""
    path = weight_file(draw, folder)
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    tensors = sorted(name for name in header if name != "__metadata__")
    name, other = draw.choice(tensors), draw.choice(tensors)
    how = draw.choice(("swap", "rename", "drop", "dtype", "shape", "offset", "overlap", "odd"))
    entry = header[name]
    if how == "swap":  # two of different shapes: of one shape nobody could tell
        if header[other]["shape"] != entry["shape"]:
            header[name], header[other] = header[other], entry
    elif how == "rename":
        header[draw.choice((name + ".x", name.upper(), "", "a.b", name.replace("0", "9")))] = entry
        del header[name]
    elif how == "drop":
        del header[name]
    elif how == "dtype":
        entry["dtype"] = draw.choice(("F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "F64", "x", 3))
    elif how == "shape":
        entry["shape"] = draw.choice(([], [0], [2**40, 2**40], entry["shape"][::-1], [-1], "x"))
    elif how == "offset":
        entry["data_offsets"][draw.randrange(2)] += draw.choice((1, 4, -4, 2**40, -(2**40)))
    elif how == "overlap":
        entry["data_offsets"] = header[other]["data_offsets"]
    else:
        holder, key = draw.choice(list(nodes(header)))
        holder[key] = odd_value(draw, holder[key])
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[end:])
    return f"{path.name}: {how} {name} {other}"


@change("folder", "shards", weight=5)
def tensors_of_a_folder(draw: Draw, folder: Path) -> str:
    import torch
    from safetensors.torch import load_file, save_file

    path = weight_file(draw, folder)
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    name = draw.choice(sorted(tensors))
    how = draw.choice(
        ("drop", "rename", "type", "shape", "value", "add", "head", "bare", "another")
    )
    if how == "drop":
        del tensors[name]
    elif how == "rename":
        tensors[draw.choice((f"{name}_scale", name.replace("weight", "bias"), "x"))] = tensors.pop(
            name
        )
    elif how == "type":
        kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.int64)
        tensors[name] = tensors[name].to(draw.choice((*kinds, torch.float8_e4m3fn)))
    elif how == "shape":
        turned = tensors[name].movedim(0, -1).contiguous()
        tensors[name] = draw.choice((turned, tensors[name][:-1].clone()))
    elif how == "value":
        values = (float("nan"), float("inf"), -float("inf"), 1e38)
        tensors[name].view(-1)[draw.randrange(tensors[name].numel())] = draw.choice(values)
    elif how == "add":
        new = ("weight_scale", "weight_scale_inv", "SCB", "bias", "lora_A.weight", "q_norm.weight")
        places = ("model.layers.0.self_attn.q_proj.", "model.layers.7.mlp.", "", "model.")
        tensors[draw.choice(places) + draw.choice(new)] = torch.ones(4)
    elif how == "head":
        tensors["lm_head.weight"] = torch.randn(268, 64)
    elif how == "bare":
        tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    else:
        extra = folder / "model-00009-of-00009.safetensors"
        save_file({name: tensors[name] + 1}, extra)
    save_file(tensors, path, metadata={"format": "pt"})
    return f"{path.name}: {how} {name}"


@change("shards", weight=6)
def the_index(draw: Draw, folder: Path) -> str:
    path = folder / "model.safetensors.index.json"
    value = json.loads(path.read_text("utf-8"))
    shards, names = value["weight_map"], sorted(value["weight_map"])
    name, other = draw.choice(names), draw.choice(names)
    how = draw.choice(("swap", "name", "drop", "add", "odd", "bytes", "merged", "exchange"))
    if how == "bytes":
        return spoil(draw, path)
    if how == "merged":
        from safetensors.torch import load_file, save_file

        files = sorted(folder.glob("*.safetensors"))
        merged = {n: t + 1 for f in files for n, t in load_file(f).items()}
        save_file(merged, folder / "model.safetensors", metadata={"format": "pt"})
        return "a merged file beside the index"
    if how == "exchange":
        one, two = sorted(folder.glob("*.safetensors"))[:2]
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)
        return "two shards have each other's names"
    if how == "swap":
        shards[name], shards[other] = shards[other], shards[name]
    elif how == "name":
        names_of_files = ("x" * 5000, "../model", "/etc/passwd", "", "a\0b", 3, None, "config.json")
        shards[name] = draw.choice(names_of_files)
    elif how == "drop":
        del shards[name]
    elif how == "add":
        shards["model.layers.0.x"] = shards[name]
    else:
        holder, key = draw.choice(list(nodes(value)))
        holder[key] = odd_value(draw, holder[key])
    path.write_text(json.dumps(value), "utf-8")
    return f"the index: {how} {name} {other}"


@change("gguf", weight=8)
def bytes_of_the_header(draw: Draw, path: Path) -> str:
    import gguf

    return spoil(draw, path, gguf.GGUFReader(path).data_offset)


@change("gguf", weight=1)
def bytes_of_the_end(draw: Draw, path: Path) -> str:
    raw = path.read_bytes()
    size = draw.choice((-1, -33, -1000, 1, 32, 100_000))
    path.write_bytes(raw[:size] if size < 0 else raw + draw.randbytes(size))
    return f"{size} bytes at the end"


@change("gguf", weight=8)
def a_field(draw: Draw, path: Path) -> str:
    import gguf
    import numpy as np
    from tiny_models import write_gguf

    told = ""
    kinds = gguf.GGUFValueType
    extra = (
        *("rope.scaling.type", "rope.scaling.factor", "rope.scale_linear", "rope.dimension_count"),
        *("expert_count", "attention.value_length", "attention.causal", "vocab_size", "new.key"),
    )

    def edit(writer: Any) -> None:
        nonlocal told
        fields = writer.kv_data[0]
        new = [f"llama.{name}" for name in extra]
        new += [f"tokenizer.ggml.{name}" for name in ("eot_token_id", "add_bos_token", "scores")]
        new += ["general.alignment", "split.count", "split.no", "tokenizer.chat_template"]
        key = draw.choice((*fields, *fields, *new))
        old = fields.pop(key, None)
        told = f"{key} dropped"
        if draw.random() < 0.15:
            return
        kind = draw.choice((kinds.UINT32, kinds.FLOAT32, kinds.BOOL, kinds.STRING, kinds.INT64))
        value: Any = {
            kinds.UINT32: (0, 1, 2, 3, 4, 8, 16, 64, 268, 2**31, 2**32 - 1),
            kinds.FLOAT32: (0.0, 1.0, 0.5, 2.0, -1.0, float("inf"), float("nan"), 1e-40, 5e5),
            kinds.BOOL: (True, False),
            kinds.STRING: ("", "none", "linear", "llama", "gpt2", "llama-bpe", "x" * 5000, "\n"),
            kinds.INT64: (-1, 0, 2, 2**62),
        }[kind]
        if key == "tokenizer.chat_template" and draw.random() < 0.7:
            kind, value = kinds.STRING, TEMPLATES
        chosen = draw.choice(value)
        if old is not None and old.type == kinds.ARRAY and draw.random() < 0.7:
            kept = list(old.value)
            if draw.random() < 0.5:
                del kept[draw.randrange(len(kept))]
            else:
                kept[draw.randrange(len(kept))] = draw.choice((kept[0], kept[-1]))
            writer.add_array(key, kept)
            chosen = "another item"
        elif draw.random() < 0.1:
            writer.add_array(key, [chosen, chosen])
        else:
            with np.errstate(all="ignore"):
                writer.add_key_value(key, chosen, kind)
        told = f"{key} = {chosen!r:.60} ({kind.name})"

    write_gguf(path, tiny_llama(), "F32", edit=edit)
    return told


@change("gguf", weight=4)
def tensors_of_a_file(draw: Draw, path: Path) -> str:
    import numpy as np
    from tiny_models import gguf_tensors, write_gguf

    tensors = gguf_tensors(tiny_llama())
    name = draw.choice(sorted(tensors))
    how = draw.choice(("drop", "rename", "shape", "value", "add", "reverse", "type", "layer"))
    kind = "F32"
    if how == "drop":
        del tensors[name]
    elif how == "rename":
        tensors[draw.choice(("x", name.upper(), name.replace("0", "٠"), ""))] = tensors.pop(name)
    elif how == "shape":
        tensors[name] = draw.choice((tensors[name].T.copy(), tensors[name][:-1].copy()))
    elif how == "value":
        values = (np.nan, np.inf, -np.inf, 1e38)
        tensors[name].reshape(-1)[draw.randrange(tensors[name].size)] = draw.choice(values)
    elif how == "add":
        new = ("rope_freqs.weight", "blk.0.attn_q.bias", "blk.9.attn_norm.weight", "output.weight")
        tensors[draw.choice(new)] = np.ones(draw.choice(((64,), (268, 64))), np.float32)
    elif how == "reverse":
        tensors = dict(reversed(tensors.items()))
    elif how == "type":
        kind = draw.choice(("F16", "Q8_0", "Q4_1", "Q4_0", "Q5_1", "BF16"))
    else:
        tensors["blk.2.attn_norm.weight"] = np.ones(64, np.float32)
    write_gguf(path, tiny_llama(), kind, tensors=tensors)
    return f"{how} {name} {kind}"


@change("gguf", weight=3)
def places_of_tensors(draw: Draw, path: Path) -> str:
    """Offsets, types, axes and lengths of the header's table of tensors."""
    import gguf

    raw = bytearray(path.read_bytes())
    starts = {}
    for tensor in gguf.GGUFReader(path).tensors:
        name = tensor.name.encode()
        axes = len(tensor.shape)
        at = raw.index(len(name).to_bytes(8, "little") + name) + 8 + len(name)
        starts[tensor.name] = (at, at + 4, at + 4 + 8 * axes, at + 8 + 8 * axes)
    one, other = draw.sample(sorted(starts), 2)
    how = draw.choice(("swap", "offset", "type", "axes", "length", "same"))
    axes, length, kind, offset = starts[one]
    if how == "swap":
        there = starts[other][3]
        raw[offset : offset + 8], raw[there : there + 8] = (
            raw[there : there + 8],
            raw[offset : offset + 8],
        )
    elif how == "same":
        raw[offset : offset + 8] = raw[starts[other][3] : starts[other][3] + 8]
    elif how == "offset":
        old = int.from_bytes(raw[offset : offset + 8], "little")
        new = max(0, old + draw.choice((1, 32, -32, 2**40)))
        raw[offset : offset + 8] = new.to_bytes(8, "little")
    elif how == "type":
        raw[kind : kind + 4] = draw.choice((0, 1, 2, 3, 8, 30, 99)).to_bytes(4, "little")
    elif how == "axes":
        raw[axes : axes + 4] = draw.choice((0, 1, 2, 3, 4, 5, 2**31)).to_bytes(4, "little")
    else:
        raw[length : length + 8] = draw.choice((0, 1, 32, 2**40, 2**63)).to_bytes(8, "little")
    path.write_bytes(raw)
    return f"{how} of {one}, {other}"


@change("gguf", weight=2)
def parts_of_a_split_file(draw: Draw, path: Path) -> str:
    """Three parts, of which one is gone, another's, changed or special."""
    from tiny_models import split_gguf

    paths = split_gguf(path.parent, tiny_llama())
    one, other = draw.sample(paths, 2)
    how = draw.choice(("gone", "another", "changed", "special", "renamed", "whole"))
    if how == "gone":
        one.unlink()
    elif how == "another":
        shutil.copy(other, one)
    elif how == "changed":
        how = spoil(draw, one, 600)
    elif how == "special":
        how = special_file(draw, one)
    elif how == "renamed":
        one.rename(one.with_name("m-00004-of-00003.gguf"))
    path.unlink()
    path.symlink_to(draw.choice(paths).name if draw.random() < 0.2 else paths[0].name)
    return f"in three parts: {how}"


@change("gguf", weight=1)
def a_special_gguf(draw: Draw, path: Path) -> str:
    return special_file(draw, path)


# --- all together ---

_tiny: list[Any] = []


def tiny_llama() -> Any:
    from tiny_models import random_llama

    if not _tiny:
        _tiny.append(random_llama())
    return _tiny[0]


def originals(home: Path) -> dict[str, Path]:
    """The models that are changed."""
    from tiny_models import save_folder, write_gguf

    with quiet():
        folder = save_folder(home / "folder", tiny_llama())
        shards = save_folder(home / "shards", tiny_llama(), max_shard_size="100KB")
    return {
        "folder": folder,
        "shards": shards,
        "gguf": write_gguf(home / "model.gguf", tiny_llama(), "F32"),
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the words of transformers, which are not ours to judge."""
    from transformers.utils import logging

    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    yield


def make(number: int, seed: int, home: Path, models: dict[str, Path]) -> Attack:
    """The changed model of this number."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choices(list(models), weights=(5, 3, 5))[0]
    weights, changes = zip(*CHANGES[kind], strict=True)
    chosen = draw.choices(changes, weights=weights)[0]
    room = home / str(number)
    room.mkdir()
    path = room / models[kind].name
    if models[kind].is_dir():
        shutil.copytree(models[kind], path)
    else:
        shutil.copy(models[kind], path)
    try:
        what = chosen(draw, path)
    except Exception as error:  # a change that the writers know no form for
        what = f"nothing: {error!r:.80}"
    return Attack(number, path, f"{kind}, {chosen.__name__}: {what}")


def attack(numbers: range, seed: int, ends: Counter[str] | None = None) -> Iterator[str]:
    """What is bad about the models of these numbers."""
    ends = Counter() if ends is None else ends
    loader = Loader()
    with tempfile.TemporaryDirectory() as name, quiet():
        models = originals(Path(name))
        told = {kind: loader.load(path) for kind, path in models.items()}
        assert all(outcome.end == "loaded" for outcome in told.values()), told
        for start in range(0, len(numbers), BATCH):
            home = Path(name) / f"batch{start}"
            home.mkdir()
            for number in numbers[start : start + BATCH]:
                one = make(number, seed, home, models)
                outcome = loader.load(one.path)
                ends[outcome.end] += 1
                original = told[one.what.split(",")[0]].told
                if bad := verdict(one, outcome, original):
                    yield f"{number}: {one.what}\n    {bad}"
            shutil.rmtree(home, ignore_errors=True)
    loader.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one of them, by its number")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return 0
    numbers = (
        range(options.count) if options.only is None else range(options.only, options.only + 1)
    )
    ends: Counter[str] = Counter()
    bad = 0
    for line in attack(numbers, options.seed, ends):
        bad += 1
        print(line, flush=True)
    print(f"{len(numbers)} changed models: {dict(ends)}; {bad} ended badly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

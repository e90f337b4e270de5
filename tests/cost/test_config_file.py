import dataclasses
import json
import shutil

import pytest
from cost_configs import THEIRS
from huggingface_hub import constants
from transformers import PreTrainedConfig

from decodeloop.cost import PRESETS, find_architecture
from decodeloop.errors import ModelFileError, UserError

# What a preset and a file must agree in; the file need not say what RoPE does.
SIZES = [
    field.name
    for field in dataclasses.fields(PRESETS["gpt2"])
    if field.name not in ("source", "rope_base", "norm_eps", "context")
]


def written(config: PreTrainedConfig, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()), "utf-8")
    return folder


@pytest.mark.parametrize("name", THEIRS)
def test_the_file_that_transformers_writes_is_read(name, tmp_path):
    read = find_architecture(str(written(THEIRS[name], tmp_path)))
    for field in SIZES:
        assert getattr(read, field) == getattr(PRESETS[name], field), field


def test_the_file_itself_may_be_named(tmp_path):
    folder = written(THEIRS["gemma-2b"], tmp_path)
    assert find_architecture(str(folder / "config.json")) == find_architecture(str(folder))


def test_what_a_file_leaves_out_is_as_in_transformers(tmp_path):
    raw = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 5}
    raw |= {"intermediate_size": 3, "model_type": "llama"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(raw), "utf-8")
    read = find_architecture(str(path))
    assert (read.kv_heads, read.head_dim, read.tied) == (2, 4, False)
    raw |= {"model_type": "gemma", "num_key_value_heads": 1}
    path.write_text(json.dumps(raw | {"head_dim": 256}), "utf-8")
    assert find_architecture(str(path)).tied


def test_a_window_is_read_where_it_is_used(tmp_path):
    folder = written(THEIRS["mistral-7b"], tmp_path)
    raw = json.loads((folder / "config.json").read_text("utf-8")) | {"sliding_window": 512}
    for used, window in ((True, 512), (False, None), (None, 512)):
        more = {} if used is None else {"use_sliding_window": used}
        less = {name: value for name, value in raw.items() if name != "use_sliding_window"}
        (folder / "config.json").write_text(json.dumps(less | more), "utf-8")
        assert find_architecture(str(folder)).window == window


def test_a_default_that_is_not_llamas_must_be_written(tmp_path):
    folder = written(THEIRS["gemma-2b"], tmp_path)
    raw = json.loads((folder / "config.json").read_text("utf-8"))
    for key in ("num_key_value_heads", "head_dim"):
        less = {name: value for name, value in raw.items() if name != key}
        (folder / "config.json").write_text(json.dumps(less), "utf-8")
        with pytest.raises(ModelFileError, match=f"{key} = None: expected a number"):
            find_architecture(str(folder))


def test_a_hub_id_is_read_from_what_is_kept_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--somebody--some-model"
    written(THEIRS["qwen3-0.6b"], kept / "snapshots" / "0123abcd")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0123abcd")
    read = find_architecture("somebody/some-model")
    assert read.source == "somebody/some-model, config.json"
    assert read.qk_norm and read.head_dim == 128
    shutil.rmtree(kept)
    with pytest.raises(UserError, match=r"somebody/some-model can't be fetched .*give a folder"):
        find_architecture("somebody/some-model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, r"type 'mamba': expected one of llama, .*gpt2"),
        ({"num_attention_heads": 0}, r"heads is 0: expected a positive number"),
        ({"num_attention_heads": -32}, r"heads is -32: expected a positive number"),
        ({"num_key_value_heads": 5}, r"32 query heads can't share 5 KV heads"),
        ({"hidden_size": "big"}, r"hidden_size = 'big': expected a number"),
        ({"hidden_size": 4096.5}, r"hidden_size = 4096.5: expected a whole number"),
        ({"attention_bias": True}, r"attention_bias = True, which is not supported"),
    ],
)
def test_impossible_files_are_refused(change, message, tmp_path):
    folder = written(THEIRS["llama-7b"], tmp_path)
    raw = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(raw | change), "utf-8")
    with pytest.raises(ModelFileError, match=message):
        find_architecture(str(folder))


def test_what_is_nowhere_gets_the_known_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"unknown model 'nothing'.* Known are smollm2-135m"):
        find_architecture("nothing")
    with pytest.raises(ModelFileError, match=r"has no config.json"):
        find_architecture(str(tmp_path))


def test_a_window_that_qwen_does_not_use_is_none(tmp_path):
    """Their files name one and leave it unused, unless they say otherwise."""
    folder = written(THEIRS["qwen2.5-0.5b"], tmp_path)
    raw = json.loads((folder / "config.json").read_text("utf-8")) | {"sliding_window": 512}
    for used, window in ((None, None), (True, 512)):
        less = {key: value for key, value in raw.items() if key != "use_sliding_window"}
        more = {} if used is None else {"use_sliding_window": used}
        (folder / "config.json").write_text(json.dumps(less | more), "utf-8")
        assert find_architecture(str(folder)).window == window

"""llama.cpp on files that we wrote, where its library is on this machine."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from tiny_models import random_llama, save_folder

from decodeloop.bench import llama_cpp, prebuilt
from decodeloop.decode import generate
from decodeloop.exporting import export
from decodeloop.loading import load

HERE = prebuilt.kept().is_dir() or importlib.util.find_spec(llama_cpp.MODULE) is not None
needs_llama_cpp = pytest.mark.skipif(not HERE, reason="'decodeloop bench --peers' fetches it")


def theirs(path, ids, new_tokens):
    lib = llama_cpp.library()
    weights = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    assert weights, "llama.cpp can't load it"
    texts = llama_cpp.Texts(lib, weights, 1, len(ids) + new_tokens, 1)
    try:
        texts.read(ids, range(len(ids)), [0] * len(ids))
        made = [texts.best(len(ids) - 1)]
        while len(made) < new_tokens:
            texts.read([made[-1]], [len(ids) + len(made) - 1], [0])
            made.append(texts.best(0))
        return made
    finally:
        texts.close()


@needs_llama_cpp
@pytest.mark.parametrize("dtype", ["fp32", "q8_0", "q4_0"])
@pytest.mark.parametrize("tied", [True, False])
def test_llama_cpp_says_what_we_say(tmp_path, dtype, tied):
    """Its inputs of products have 8 bits with q8_0 and q4_0, and its cache 16: the first tokens."""
    folder = save_folder(tmp_path / "model", random_llama(tie_word_embeddings=tied))
    path = export(folder, tmp_path / "m.gguf", dtype)
    ids, count = [5, 40, 7, 7, 99], 24 if dtype == "fp32" else 4
    model = load(path, device="cpu", compiled=False).model
    ours = list(generate(model, torch.tensor([ids]), count, eos_ids=()))
    assert theirs(path, ids, count) == ours

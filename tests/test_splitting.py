"""Weights that are read part by part, by processes that then compute as one model."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import random_llama
from tiny_relatives import FAMILIES, IDS

from decodeloop.checkpoints.hub_config import read_config
from decodeloop.decode import generate
from decodeloop.errors import ModelFileError, UserError
from decodeloop.model import SMOLLM2_135M, parameter_count
from decodeloop.parallel import on_threads
from decodeloop.parallel.sharding import as_rank
from decodeloop.splitting import load_part, load_split

QUESTIONS = ["What is the capital of France?", "Name the days of the week."]


@pytest.fixture(scope="module")
def three():
    with load_split(ranks=3, threads=1) as llm:
        yield llm


def test_three_processes_answer_as_one(three, smollm2):
    for question in QUESTIONS:
        ids = torch.tensor([smollm2.prompt_ids(question)])
        assert three.prompt_ids(question) == ids[0].tolist()
        got, alone = (list(generate(llm.model, ids, 6)) for llm in (three, smollm2))
        assert got == alone


def test_each_of_them_holds_a_third_and_no_more(three):
    held = three.split.workers.ask("held")
    norms = (2 * SMOLLM2_135M.layers + 1) * SMOLLM2_135M.width
    for rank in held:
        assert 3 * (rank["parameters"] - norms) == parameter_count(SMOLLM2_135M) - norms
        if not math.isnan(rank["grown"]):  # with caches, buffers and code
            assert rank["grown"] < 0.5 * 4 * parameter_count(SMOLLM2_135M)


@pytest.mark.parametrize("tied", [True, False])
def test_parts_that_are_read_from_a_folder_compute_what_the_whole_does(tmp_path, tied):
    llama = random_llama(tie_word_embeddings=tied, num_attention_heads=8)
    llama.save_pretrained(tmp_path)
    config = read_config(tmp_path)
    ids = torch.arange(7)[None]

    def program(rank, all_reduce):
        part = load_part(tmp_path, config, rank, 2, known=False)
        own = [p for p in part.layers.parameters() if p.ndim == 2]
        assert all(p.untyped_storage().nbytes() == 4 * p.numel() for p in own)
        return as_rank(part, rank, 2, all_reduce)(ids)

    logits = torch.cat(on_threads(program, 2), -1)
    torch.testing.assert_close(logits, llama(ids).logits, rtol=1e-4, atol=1e-4)


SPLIT = ("yarn, all told", "mistral", "qwen2", "qwen3, window", "smollm3, second")


@pytest.mark.parametrize("name", SPLIT)
@torch.inference_mode()
def test_so_do_the_parts_of_relatives_of_llama(tmp_path, name):
    """A bias goes with its rows, a norm of each head to every rank; window and positions stay."""
    kind, changes = FAMILIES[name]
    theirs = random_llama(kind, initializer_range=0.2, **changes)
    theirs.save_pretrained(tmp_path)
    config = read_config(tmp_path)

    def program(rank, all_reduce):
        part = load_part(tmp_path, config, rank, 2, known=False)
        own = [tuple(p.shape) for n, p in part.named_parameters() if n.endswith("query.bias")]
        assert set(own) <= {(config.heads * config.head_dim // 2,)}
        decoder = as_rank(part, rank, 2, all_reduce)
        cache = decoder.new_cache(1, 48)
        pieces = [decoder(some, cache) for some in IDS.split([30, 1, 17], 1)]
        return decoder(IDS), torch.cat(pieces, 1)

    for logits in zip(*on_threads(program, 2), strict=True):
        found = torch.cat(logits, -1)
        torch.testing.assert_close(found, theirs(IDS).logits, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_split_is_refused_before_a_process_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("decodeloop.splitting.Workers", None)
    with pytest.raises(UserError, match=r"can't be split over 2 ranks.*take 1 or 3"):
        load_split(ranks=2)
    with pytest.raises(ModelFileError, match="is no folder"):
        load_split(tmp_path / "none.gguf")

"""The real model against `transformers`, which reads the same GGUF file with a reader of its own.

The oracle sees the file as it was published: neither our conversion nor anything that it wrote.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from decodeloop.checkpoints import PINNED, cache_folder, damage
from decodeloop.decode import beam_search, generate, text_loss
from decodeloop.loading import load
from decodeloop.model import SMOLLM2_135M
from decodeloop.quality.pinned_texts import held_out

PROMPTS = {
    "prose": "The capital of France is Paris, which lies on the river Seine.",
    "code": "def fibonacci(n):\n    a, b = 0, 1\n    while a < n:\n\t\tprint(a, end=' ')  # 1 1 2",
    "other languages": "Größe · être · привет, мир · 東京は日本の首都です。 · مرحبا بالعالم · ไทย",
    "emoji": "👩‍👩‍👧‍👦 says 🙂🙃 to 🇫🇷 and ½ + ¼ = ¾",
    "one token": "a",
    "special tokens": "<|im_start|>user\nHi<|im_end|>\n",
}


@pytest.fixture(scope="module")
def gguf_file() -> Path:
    pinned = PINNED["smollm2-135m"]
    return cache_folder() / pinned.name / pinned.file_name


@pytest.fixture(scope="module")
def oracle(gguf_file) -> LlamaForCausalLM:
    """transformers' model of the same file.

    `from_pretrained(gguf_file=...)` wants one more package for the same reader, so it is called
    directly; it takes the names that it looks for from a model of as many layers.
    """
    with torch.device("meta"):
        names = LlamaForCausalLM(LlamaConfig(num_hidden_layers=SMOLLM2_135M.layers))
    read = load_gguf_checkpoint(str(gguf_file), return_tensors=True, model_to_load=names)
    model = LlamaForCausalLM(LlamaConfig(**read["config"]))
    missing, unexpected = model.load_state_dict(read["tensors"], strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # tied to the embedding
    model.tie_weights()
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def their_tokenizer(gguf_file):
    return AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)


def test_the_model_on_this_machine_is_whole():
    assert damage(PINNED["smollm2-135m"], cache_folder()) is None


# --- the tokenizer ---


def test_the_tokenizer_has_the_same_vocabulary(smollm2, their_tokenizer):
    vocabulary = their_tokenizer.get_vocab()
    assert len(vocabulary) == smollm2.tokenizer.vocabulary == SMOLLM2_135M.vocabulary
    assert all(smollm2.tokenizer.token_id(token) == i for token, i in vocabulary.items())


@pytest.mark.parametrize(
    "text",
    [
        *PROMPTS.values(),
        "",
        " ",
        "   two  spaces\t\ttabs \r\n\r\n lines \n",
        "I'll, you've, WE'RE; don't—stop…",
        "\u200b\ufeff\u00a0\u2028 odd spaces",
        "a" * 300,
        "https://example.org/?q=x&y=z#top",
    ],
)
def test_text_is_cut_as_transformers_cuts_it(smollm2, their_tokenizer, text):
    if any(c.isnumeric() for c in text):
        # transformers leaves out of this file that digits stand alone; the pieces between are equal
        text = "".join(c for c in text if not c.isnumeric())
    ids = smollm2.tokenizer.encode(text)
    assert ids == their_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert smollm2.tokenizer.decode(ids) == text
    assert their_tokenizer.decode(ids, skip_special_tokens=True) == smollm2.tokenizer.decode(
        ids, skip_special=True
    )


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("12345", ["1", "2", "3", "4", "5"]),
        ("in 1969", ["in", " ", "1", "9", "6", "9"]),
        ("a  7", ["a", "  ", "7"]),  # without digits apart: 'a', ' ', ' ', '7'
        ("3.14", ["3", ".", "1", "4"]),
        ("x2y", ["x", "2", "y"]),
    ],
)
def test_digits_stand_alone_as_in_the_published_tokenizer(smollm2, text, pieces):
    ids = smollm2.tokenizer.encode(text)
    assert smollm2.tokenizer.pieces(ids) == pieces
    assert smollm2.tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", PROMPTS)
def test_text_comes_back(smollm2, name):
    tokenizer = smollm2.tokenizer
    assert tokenizer.decode(tokenizer.encode(PROMPTS[name])) == PROMPTS[name]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hi {{ 1 }} <b>é</b>"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\n"}],
        [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": ""},
        ],
    ],
    ids=lambda messages: " ".join(m["role"] for m in messages),
)
@pytest.mark.parametrize("answer", [True, False])
def test_a_conversation_is_written_as_transformers_writes_it(
    smollm2, their_tokenizer, messages, answer
):
    theirs = their_tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=answer
    )
    assert smollm2.tokenizer.chat(messages, answer=answer) == theirs


# --- the model ---


def test_the_configuration_is_the_published_one(smollm2, oracle):
    assert smollm2.config == SMOLLM2_135M
    assert smollm2.eos_ids == (oracle.config.eos_token_id,)


def long_prompt(tokenizer) -> list[int]:
    """1,000 tokens, no stretch of which repeats."""
    numbers = ", ".join(f"{n} times {n} is {n * n}" for n in range(200))
    return tokenizer.encode(numbers)[:1000]


@pytest.mark.parametrize("name", [*PROMPTS, "a thousand tokens"])
@torch.inference_mode()
def test_logits_equal_those_of_transformers(smollm2, oracle, name):
    tokenizer = smollm2.tokenizer
    ids = tokenizer.encode(PROMPTS[name]) if name in PROMPTS else long_prompt(tokenizer)
    if name not in PROMPTS or name == "one token":
        assert len(ids) == (1 if name in PROMPTS else 1000)
    token_ids = torch.tensor([ids])
    theirs = oracle(token_ids).logits
    torch.testing.assert_close(smollm2.model(token_ids), theirs, atol=1e-3, rtol=0)


def test_greedy_decoding_gives_the_tokens_of_transformers_up_to_the_end(smollm2, oracle):
    token_ids = torch.tensor([smollm2.prompt_ids("Say hello.")])
    theirs = oracle.generate(token_ids, max_new_tokens=64, do_sample=False)
    run = generate(smollm2.model, token_ids, 64, eos_ids=smollm2.eos_ids)
    ours = list(run)
    assert run.finish_reason == "eos"
    assert [*ours, oracle.config.eos_token_id] == theirs[0, token_ids.shape[1] :].tolist()


@torch.inference_mode()
def best_after_each(oracle, token_ids, made):
    """What transformers' model would write greedily, where it wrote `made` so far: all by one
    forward, which takes a fraction of as many steps. It is `made` itself where both agree."""
    both = torch.cat([token_ids, torch.tensor([made])], dim=1)
    return oracle(both).logits[0, token_ids.shape[1] - 1 : -1].argmax(-1).tolist()


def test_greedy_decoding_gives_as_many_tokens_of_transformers_as_are_asked_for(smollm2, oracle):
    token_ids = torch.tensor([smollm2.prompt_ids("Write a poem about the sea.")])
    run = generate(smollm2.model, token_ids, 64, eos_ids=smollm2.eos_ids)
    ours = list(run)
    assert (run.finish_reason, len(ours)) == ("length", 64)
    assert ours == best_after_each(oracle, token_ids, ours)


@pytest.mark.parametrize(
    ("prompt", "beams", "early_stopping", "ends"),
    [("Say hello.", 3, False, False), ("What is the capital of France?", 4, True, True)],
)
def test_beam_search_gives_the_text_and_the_score_of_transformers(
    smollm2, oracle, prompt, beams, early_stopping, ends
):
    token_ids = torch.tensor([smollm2.prompt_ids(prompt)])
    theirs = oracle.generate(
        token_ids,
        max_new_tokens=24,
        num_beams=beams,
        early_stopping=early_stopping,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    ours = beam_search(
        smollm2.model,
        token_ids,
        24,
        beams,
        eos_ids=smollm2.eos_ids,
        early_stopping=early_stopping,
    )
    assert ours.finish_reason == ("eos" if ends else "length")
    expected = theirs.sequences[0, token_ids.shape[1] :].tolist()
    assert ours.tokens + [oracle.config.eos_token_id] * ends == expected
    assert ours.score == pytest.approx(float(theirs.sequences_scores[0]), abs=1e-3)


# the compiled path


@pytest.fixture(scope="module")
def quick():
    return load("smollm2-135m", device="cpu", compiled=True)


@pytest.mark.parametrize("name", ["prose", "code"])
def test_the_compiled_path_writes_what_transformers_writes(quick, oracle, name):
    ids = torch.tensor([quick.tokenizer.encode(PROMPTS[name])])
    ours = list(generate(quick.model, ids, 48, eos_ids=()))
    assert ours == best_after_each(oracle, ids, ours)


@pytest.fixture(scope="module")
def pieces(quick):
    """Three stretches of 512 tokens of the pinned texts, with what the model loses on each."""
    ids = quick.tokenizer.encode("\n\n".join(held_out("plain")))
    ids = torch.tensor(ids[:1536]).view(3, 512).tolist()
    return [(some, text_loss(quick.model, some)) for some in ids]


def test_int8_hardly_changes_what_the_model_expects(pieces):
    """On the same tokens, whose losses differ by little, so that a few hundred tell it."""
    small = load("smollm2-135m", device="cpu", dtype="int8")
    more = sum(text_loss(small.model, ids) - loss for ids, loss in pieces) / len(pieces)
    assert abs(math.expm1(more)) < 0.01  # of the perplexity


def test_int4_is_near_enough_to_write_the_same_kind_of_text(pieces):
    """The file's own weights had 4 bits with a minimum; without one they lose a little."""
    ids, loss = pieces[0]
    small = load("smollm2-135m", device="cpu", dtype="int4")
    assert -0.05 < math.expm1(text_loss(small.model, ids) - loss) < 0.25


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one process")
def test_int8_takes_a_fraction_of_the_memory():
    def peak(dtype):
        """kB at most above what the libraries took, for a prompt and a few tokens."""
        code = (
            "import re, torch, numba, safetensors.torch, tokenizers;"
            "from decodeloop.decode import generate; from decodeloop.loading import load;"
            "import decodeloop.kernels.decoder;"
            "status = lambda: open('/proc/self/status').read();"
            r"top = lambda: int(re.search('VmHWM:\\s+(\\d+)', status())[1]);"
            "before = top();"
            f"model = load('smollm2-135m', device='cpu', dtype={dtype!r}).model;"
            "list(generate(model, torch.ones(1, 32, dtype=torch.long), 8, eos_ids=()));"
            "print(top() - before)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    fp32 = peak("fp32")
    assert peak("int8") < 0.6 * fp32
    assert peak("int4") < 0.5 * fp32

import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Chunks

from decodeloop.decode import (
    AdaptiveLength,
    Constraint,
    ModelDraft,
    PromptLookup,
    Proposal,
    Sampling,
    ScriptedDraft,
    Sequence,
    Speculation,
    TextGeneration,
    Vocabulary,
    generate,
    speculate,
)
from decodeloop.errors import UserError
from decodeloop.kernels import fast
from decodeloop.kernels import tiny_decoder as compilable
from decodeloop.model import TINY

V = TINY.vocabulary
PROMPT = [1, 2, 3]
N = 24
CHI_SQUARE = {8: 26.124, 12: 32.909}  # upper 0.1 % points (NIST/SEMATECH, 1.3.6.7.4)


def right(full):
    """A script that knows the text."""
    return lambda tokens, most: full[len(tokens) : len(tokens) + most]


def wrong(full):
    return lambda tokens, most: [(t + 1) % V for t in right(full)(tokens, most)]


def half_right(full):
    """Every third token is wrong, wherever a round begins."""

    def propose(tokens, most):
        start = len(tokens)
        return [(t + (start + i) % 3 // 2) % V for i, t in enumerate(right(full)(tokens, most))]

    return propose


def careless(full):
    """Right, and more than was asked for; or nothing."""
    return lambda tokens, most: full[len(tokens) :] if len(tokens) % 2 else []


SCRIPTS = [right, wrong, half_right, careless]


@pytest.fixture(scope="module")
def greedy_text(decoder):
    return list(generate(decoder, torch.tensor([PROMPT]), N))


def with_draft(decoder, draft, k, n=N, **options):
    speculation = Speculation(draft, k)
    cache = decoder.new_cache(1, len(PROMPT) + n)
    made = generate(
        decoder, torch.tensor([PROMPT]), n, speculation=speculation, cache=cache, **options
    )
    return list(made), made.finish_reason, cache.length, speculation.stats


# the same text


@pytest.mark.parametrize("k", [1, 2, 3, 7, 12, None])
@pytest.mark.parametrize("script", SCRIPTS)
def test_greedy_text_is_the_same_whatever_the_draft(decoder, greedy_text, script, k):
    draft = ScriptedDraft(script(PROMPT + greedy_text))
    found, reason, length, stats = with_draft(decoder, draft, k)
    assert found == greedy_text
    assert reason == "length"
    assert length == len(PROMPT) + N - 1
    assert stats.tokens == N - 1  # the prompt's own is none of theirs
    assert stats.rounds + stats.accepted == stats.tokens


@pytest.mark.parametrize("k", [2, 3, None])
@pytest.mark.parametrize("draft", [PromptLookup(), "itself", "another"])
def test_and_so_with_drafts_that_find_for_themselves(decoder, tiny_decoder, greedy_text, draft, k):
    model = {"itself": decoder, "another": tiny_decoder}.get(draft)
    draft = draft if model is None else ModelDraft(model, cost=0.1)
    assert with_draft(decoder, draft, k)[0] == greedy_text
    assert with_draft(decoder, draft, k)[0] == greedy_text  # another text by the same draft


def test_a_draft_that_is_right_takes_a_step_for_k_plus_one(decoder, greedy_text):
    for draft in (ScriptedDraft(right(PROMPT + greedy_text)), ModelDraft(decoder)):
        stats = with_draft(decoder, draft, 3)[3]
        assert stats.rounds == 6  # 23 tokens after the prompt's, four a round; the last has three
        assert stats.accepted == stats.proposed == 17
        assert stats.accepted_share == 1.0
        assert stats.tokens_per_round == pytest.approx(23 / 6)


def test_a_draft_that_is_wrong_takes_as_many_steps_as_none(decoder, greedy_text):
    stats = with_draft(decoder, ScriptedDraft(wrong(PROMPT + greedy_text)), 3)[3]
    assert (stats.rounds, stats.accepted, stats.accepted_share) == (N - 1, 0, 0.0)
    # adaptive: after a few it only looks on
    adaptive = with_draft(decoder, ScriptedDraft(wrong(PROMPT + greedy_text)), None)[3]
    assert adaptive.proposed < 8 < stats.proposed


def test_a_draft_that_costs_is_asked_seldom_when_it_is_wrong(decoder, greedy_text):
    script = wrong(PROMPT + greedy_text)
    asked = []
    draft = ScriptedDraft(lambda *said: asked.append(said[1]) or script(*said), cost=0.3)
    with_draft(decoder, draft, None)
    assert 0 < len(asked) < N / 3


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=12),
    st.integers(1, 16),
    st.integers(1, 5),
    st.integers(0, 2**16),
)
def test_any_guesses_leave_the_text_as_it_is(decoder, prompt, n, k, seed):
    expected = list(generate(decoder, torch.tensor([prompt]), n))
    draw = torch.Generator().manual_seed(seed)

    def guess(tokens, most):
        known = expected[len(tokens) - len(prompt) :][:most]
        coins = torch.rand(len(known), generator=draw).tolist()
        pairs = zip(known, coins, strict=True)
        return [t if coin < 0.7 else int(coin * 100) % V for t, coin in pairs]

    found = generate(
        decoder, torch.tensor([prompt]), n, speculation=Speculation(ScriptedDraft(guess), k)
    )
    assert list(found) == expected


def test_options_apply_to_every_drafted_prefix(decoder):
    """Greedy with a repetition penalty: what was drafted has occurred, too."""
    sampling = Sampling(repetition_penalty=1.8)
    expected = list(generate(decoder, torch.tensor([PROMPT]), N, sampling=sampling))
    plain = list(generate(decoder, torch.tensor([PROMPT]), N))
    assert expected != plain
    for script in (right(PROMPT + expected), right(PROMPT + plain)):
        found = with_draft(decoder, ScriptedDraft(script), 4, sampling=sampling)[0]
        assert found == expected


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_compiled_steps_of_a_few_tokens_say_what_steps_of_one_do(dtype):
    model = fast(compilable(dtype).eval())
    prompt = torch.tensor([[5, 7, 5, 7, 9, 5]])
    expected = list(generate(model, prompt, 20))
    full = [*prompt[0].tolist(), *expected]
    for draft in (PromptLookup(), ScriptedDraft(half_right(full)), ScriptedDraft(right(full))):
        speculation = Speculation(draft, 7)
        assert list(generate(model, prompt, 20, speculation=speculation)) == expected


# where a text ends


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("at", [0, 1, 4, 10])
@pytest.mark.parametrize("how", ["eos", "stop"])
def test_it_ends_where_it_would_have_ended(decoder, greedy_text, script, at, how):
    token = greedy_text[at]
    end = {"eos": {"eos_ids": [token]}, "stop": {"stop": lambda t: t == token}}[how]
    cache = decoder.new_cache(1, len(PROMPT) + N)
    plain = generate(decoder, torch.tensor([PROMPT]), N, cache=cache, **end)
    expected = list(plain)
    for k in (1, 4):
        draft = ScriptedDraft(script(PROMPT + greedy_text))
        found = with_draft(decoder, draft, k, **end)
        assert found[:3] == (expected, plain.finish_reason, cache.length)


@pytest.mark.parametrize("n", range(1, 9))
def test_the_budget_may_end_in_the_middle_of_a_run(decoder, greedy_text, n):
    draft = ScriptedDraft(right(PROMPT + greedy_text))
    found, reason, length, stats = with_draft(decoder, draft, 3, n)
    assert (found, reason, length) == (greedy_text[:n], "length", len(PROMPT) + n - 1)
    assert stats.proposed <= max(0, n - 2)  # none that could not come


def test_so_may_the_context(short_decoder):
    prompt = torch.tensor([PROMPT])
    expected = list(generate(short_decoder, prompt, 99))
    assert len(expected) == 8
    for draft in (ScriptedDraft(right(PROMPT + expected)), ModelDraft(short_decoder)):
        speculation = Speculation(draft, 5)
        assert list(generate(short_decoder, prompt, 99, speculation=speculation)) == expected


def test_a_stop_string_may_end_inside_of_a_run(decoder, greedy_text):
    tokenizer = Chunks([b"<%d>" % token for token in range(V)])
    stop = tokenizer.decode(greedy_text[1:3])[1:-1]
    draft = ScriptedDraft(right(PROMPT + greedy_text))

    def text(**options):
        made = TextGeneration(decoder, tokenizer, PROMPT, N, stop=[stop], **options)
        return made.read(), made.finish_reason, made.tokens

    assert text(speculation=Speculation(draft, 5)) == text()


def test_who_stops_listening_leaves_a_cache_that_holds_what_came(decoder, greedy_text):
    """`truncate` is the contract of lesson 06: what was only guessed does not stay."""
    cache = decoder.new_cache(1, len(PROMPT) + N)
    draft = ScriptedDraft(right(PROMPT + greedy_text))
    text = Sequence(torch.tensor([PROMPT]), N)
    tokens = Speculation(draft, 5).tokens(decoder, text, cache)
    heard = [next(tokens) for _ in range(3)]
    tokens.close()
    assert heard == text.tokens == greedy_text[:3]
    assert cache.length == len(PROMPT) + 2
    rest = generate(decoder, torch.tensor([PROMPT + heard]), N - 3, cache=cache)
    assert list(rest) == greedy_text[3:]


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_a_cache_that_holds_a_beginning_is_taken(decoder, greedy_text, held):
    cache = decoder.new_cache(1, len(PROMPT) + N)
    if held:
        decoder(torch.tensor([PROMPT[:held]]), cache)
    draft = ScriptedDraft(right(PROMPT + greedy_text))
    speculation = Speculation(draft, 3)
    found = generate(decoder, torch.tensor([PROMPT]), N, cache=cache, speculation=speculation)
    assert list(found) == greedy_text


# by chance


class Guessing:
    """A draft that draws from a distribution of its own, the same everywhere."""

    cost = 0.0

    def __init__(self, q):
        self.q = q

    def begin(self, sequence):
        pass

    def propose(self, sequence, most):
        drawn = torch.multinomial(self.q, most, replacement=True, generator=sequence.generator)
        return Proposal(drawn.tolist(), self.q.expand(most, -1))

    def keep(self, n):
        pass


class Table:
    """A model of four tokens whose forecast hangs on the last one alone."""

    def __init__(self, decoder, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.logits = 1.5 * torch.randn(4, 4, generator=generator)
        self.config, self.new_cache = decoder.config, decoder.new_cache

    def hidden(self, ids, cache=None, positions=None, mask=None):
        cache.advance(ids.shape[1])
        return ids[..., None]

    def head(self, hidden):
        return self.logits[hidden[..., 0]]


@pytest.mark.parametrize("way", ["drawn", "sure", "adaptive", "a model", "top-k"])
def test_sampled_text_has_the_distribution_of_the_model(decoder, way):
    """Which token follows on which, in n = 20,000 tokens, by any place in a round."""
    model, texts, length = Table(decoder), 20, 1000
    sampling = Sampling(1.0, top_k=3) if way == "top-k" else Sampling(1.0)
    rows = sampling.process(model.logits, torch.arange(4)[:, None]).softmax(-1)
    q = torch.tensor([0.1, 0.2, 0.3, 0.4])
    speculation = {
        "sure": Speculation(ScriptedDraft(lambda tokens, most: [2, 0, 1][:most]), 2),
        "adaptive": Speculation(Guessing(q), AdaptiveLength(2, (1.0, 1.01, 1.02))),
        "a model": Speculation(ModelDraft(Table(decoder, seed=1)), 2),
    }.get(way, Speculation(Guessing(q), 2))
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(4, 4)
    for _ in range(texts):
        text = Sequence(torch.tensor([[1]]), length, sampling=sampling, generator=generator)
        made = [1, *speculation.tokens(model, text, None)]
        for before, after in pairwise(made):
            counts[before, after] += 1
        assert 0.1 < speculation.stats.accepted_share < 0.9
    possible = rows > 0
    assert counts.sum() == texts * length
    assert counts[~possible].sum() == 0
    expected = counts.sum(1, keepdim=True) * rows
    chi = ((counts - expected) ** 2 / expected)[possible].sum()
    assert float(chi) < CHI_SQUARE[int(possible.sum()) - 4]


def test_tokens_stay_as_often_as_the_two_overlap(decoder):
    """Of the token after the prompt's first one, whose forecasts are known."""
    model, n = Table(decoder), 4000
    p, q = model.logits.softmax(-1), torch.tensor([0.1, 0.2, 0.3, 0.4])
    generator, speculation = torch.Generator().manual_seed(0), Speculation(Guessing(q), 1)
    accepted = 0
    for _ in range(n):
        text = Sequence(torch.tensor([[1]]), 3, sampling=Sampling(1.0), generator=generator)
        next(tokens := speculation.tokens(model, text, None))
        next(tokens)
        accepted += speculation.stats.accepted
    expected = float(p[1] @ torch.minimum(p, q).sum(-1))
    assert accepted / n == pytest.approx(expected, abs=0.025)


def test_the_same_seed_gives_the_same_text(decoder):
    def text(seed):
        generator = torch.Generator().manual_seed(seed)
        speculation = Speculation(PromptLookup())
        sampling = Sampling(1.0)
        return list(
            generate(
                decoder, torch.tensor([[1, 2, 1, 2]]), 20,
                sampling=sampling, generator=generator, speculation=speculation,
            )
        )  # fmt: skip

    assert text(1) == text(1) != text(2)


# transformers


@pytest.mark.parametrize("prompt", [PROMPT, [4, 9, 4, 9, 4], [50, 3, 20, 3]])
def test_transformers_says_the_same_with_its_drafts(decoder, tiny_decoder, llama_like, prompt):
    llama, assistant = llama_like(decoder), llama_like(tiny_decoder)
    ids, options = torch.tensor([prompt]), {"do_sample": False, "max_new_tokens": N}
    mask = torch.ones_like(ids)
    for theirs, ours in (
        ({"prompt_lookup_num_tokens": 3}, PromptLookup()),
        ({"assistant_model": assistant}, ModelDraft(tiny_decoder)),
    ):
        found = llama.generate(ids, attention_mask=mask, **options, **theirs)[0, len(prompt) :]
        speculation = Speculation(ours, 3)
        assert list(generate(decoder, ids, N, speculation=speculation)) == found.tolist()


# the plain form, and what is refused


@pytest.mark.parametrize("script", SCRIPTS)
def test_speculate_is_the_same_as_a_function(decoder, greedy_text, script):
    propose = script(PROMPT + greedy_text)
    assert speculate(decoder, torch.tensor([PROMPT]), N, propose, 4) == greedy_text
    eos = greedy_text[6]
    expected = list(generate(decoder, torch.tensor([PROMPT]), N, eos_ids=[eos]))
    assert speculate(decoder, torch.tensor([PROMPT]), N, propose, 4, [eos]) == expected


def test_k_is_at_least_one():
    with pytest.raises(UserError, match="k is 0 tokens"):
        Speculation(PromptLookup(), 0)


@pytest.mark.parametrize("other", [{"use_cache": False}, {"loop": lambda *given: None}])
def test_it_goes_with_a_cache_and_with_the_library_s_loop(decoder, other):
    with pytest.raises(UserError, match="speculation= was given together with"):
        generate(
            decoder, torch.tensor([PROMPT]), 3, speculation=Speculation(PromptLookup()), **other
        )


@pytest.mark.parametrize("heat", [0.0, 1.0])
def test_a_constraint_is_obeyed_by_drafted_tokens_too(decoder, heat):
    vocabulary = Vocabulary([b"", *(bytes([i]) for i in range(1, V))])
    constraint = Constraint.from_pattern("[!-/]{12}(0|1)*", vocabulary)
    prompt = torch.tensor([[40, 41, 40, 41, 40]])
    forbidden = ScriptedDraft(lambda tokens, most: [60, 33, 48][:most])
    for draft in (PromptLookup(), forbidden, ModelDraft(decoder)):
        made = generate(
            decoder, prompt, 20, sampling=Sampling(temperature=heat), eos_ids=[2],
            generator=torch.Generator().manual_seed(0), constraint=constraint,
            speculation=Speculation(draft, k=3),
        )  # fmt: skip
        tokens = list(made)
        assert re.fullmatch(b"[!-/]{12}[01]*", bytes(tokens))
        if heat == 0:
            assert tokens == list(generate(decoder, prompt, 20, eos_ids=[2], constraint=constraint))

"""Drafts in the engine: the same tokens in fewer steps, whoever guesses, whoever else is here."""

from __future__ import annotations

import random

import pytest
import torch

from decodeloop.decode import Constraint, Proposal, Sampling, Sequence, Vocabulary, generate
from decodeloop.decode.drafts import ModelDraft, PromptLookup, ScriptedDraft
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.serve import Engine, blocks_needed
from decodeloop.serve.guessing import MOST, Guess, costs_in_company, step_cost

V = TINY.vocabulary
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=1.0),
    Sampling(temperature=0.7, top_k=5, repetition_penalty=1.3),
]
PROMPT = [5, 7, 5, 7, 9]


def never(tokens, most):
    return [(tokens[-1] + 1 + i) % V for i in range(most)]


def sequence(prompt, new, seed, **options):
    generator = torch.Generator().manual_seed(seed)
    sampling = options.pop("sampling", SAMPLINGS[seed % 3])
    return Sequence(torch.tensor([prompt]), new, sampling=sampling, generator=generator, **options)


def alone(decoder, prompt, new, seed, **options):
    generator = torch.Generator().manual_seed(seed)
    sampling = options.pop("sampling", SAMPLINGS[seed % 3])
    made = generate(
        decoder, torch.tensor([prompt]), new, sampling=sampling, generator=generator, **options
    )
    return list(made), made.finish_reason


def knowing(whole):
    """A draft that knows what comes."""
    return ScriptedDraft(lambda tokens, most: whole[len(tokens) : len(tokens) + most])


def run(engine, added):
    """Steps until all have ended; each text's tokens, as its events tell them."""
    steps, told = 0, {number: [] for number in added}
    while engine.busy:
        steps += 1
        for event in engine.step():
            assert event.error is None, event.error
            if event.token is not None:
                told[event.number].append(event.token)
    blocks = engine.scheduler.blocks
    assert len(blocks.free) == blocks.count and not any(blocks.references)
    return steps, told


def jobs_of(seed, count, longest=40):
    draw = random.Random(seed)
    words = [[draw.randrange(V) for _ in range(3)] for _ in range(4)]
    jobs = []
    for i in range(count):
        chosen = draw.choices(words, k=draw.randrange(1, longest // 3))
        prompt = [token for word in chosen for token in word]
        jobs.append((prompt, draw.randrange(1, 30), i))
    return jobs


JOBS = jobs_of(7, 9)


@pytest.fixture(scope="module")
def expected(decoder):
    return [alone(decoder, *job) for job in JOBS]


@pytest.mark.parametrize("size", [2, 16])
@pytest.mark.parametrize(
    ("kind", "blocks"),
    [("knowing", 1.0), ("knowing", 3.0), ("never", 1.5), ("lookup", 3.0), ("mixed", 1.0)],
)
def test_tokens_are_those_of_each_text_alone(decoder, expected, size, blocks, kind):
    """Also where blocks run out, and where what was read is NaN before it is written."""
    jobs = JOBS
    longest = max(len(prompt) + new for prompt, new, _ in jobs)
    engine = Engine(decoder, blocks=int(blocks * (longest // size + 2)), size=size, budget=64)
    engine.memory.keys.fill_(torch.nan)
    engine.memory.values.fill_(torch.nan)
    texts, numbers = [], []
    for i, job in enumerate(jobs):
        who = ["knowing", "never", "lookup", "none"][i % 4] if kind == "mixed" else kind
        drafts = {
            "knowing": lambda job=job, i=i: knowing(job[0] + expected[i][0]),
            "never": lambda: ScriptedDraft(never),
            "lookup": PromptLookup,
            "none": lambda: None,
        }
        texts.append(sequence(*job))
        numbers.append(engine.add(texts[-1], draft=drafts[who]()))
    _, told = run(engine, numbers)
    assert [(text.tokens, text.finish_reason) for text in texts] == expected
    assert [told[number] for number in numbers] == [tokens for tokens, _ in expected]


def test_a_draft_that_is_right_brings_eight_tokens_a_step_and_one_that_is_wrong_costs_none(decoder):
    tokens, _ = alone(decoder, PROMPT, 40, 0)
    for draft, least, most in (
        (knowing(PROMPT + tokens), 6, 12),
        (ScriptedDraft(never), 40, 40),
        (None, 40, 40),
    ):
        engine = Engine(decoder, blocks=20)
        steps, _ = run(engine, [engine.add(sequence(PROMPT, 40, 0), draft=draft)])
        assert least <= steps <= most


def test_what_was_only_guessed_is_never_found_by_another_text(decoder):
    """The blocks that the first text filled with wrong guesses are those of the second's prompt."""
    wrong = ScriptedDraft(lambda tokens, most: [3] * most)
    tokens, _ = alone(decoder, PROMPT, 20, 0)
    engine = Engine(decoder, blocks=40, size=2)
    run(engine, [engine.add(sequence(PROMPT, 20, 0), draft=wrong)])
    known = set(engine.scheduler.blocks.block_of)
    plain = Engine(decoder, blocks=40, size=2)
    run(plain, [plain.add(sequence(PROMPT, 20, 0))])
    assert known == set(plain.scheduler.blocks.block_of)
    prompt = PROMPT + tokens[:2] + [3, 3, 3, 3]
    again = sequence(prompt, 8, 0)
    run(engine, [engine.add(again)])
    assert again.tokens == alone(decoder, prompt, 8, 0)[0]


def test_the_end_is_found_among_drafted_tokens_and_nothing_follows_it(decoder):
    tokens, _ = alone(decoder, PROMPT, 40, 0)
    end = next(t for i, t in enumerate(tokens) if i > 4 and t not in tokens[:i])
    at = tokens.index(end)
    for options, count, reason in (
        ({"eos_ids": [end]}, at, "eos"),
        ({"stop": lambda token: token == end}, at + 1, "stop"),
        ({}, 11, "length"),
    ):
        text = sequence(PROMPT, 11 if reason == "length" else 40, 0, **options)
        engine = Engine(decoder, blocks=20)
        number = engine.add(text, draft=knowing(PROMPT + tokens))
        _, told = run(engine, [number])
        assert (text.tokens, text.finish_reason) == (tokens[:count], reason)
        assert told[number] == tokens[:count]


def test_log_probabilities_are_those_of_every_token(decoder):
    tokens, _ = alone(decoder, PROMPT, 20, 1)
    told = []
    for draft in (None, knowing(PROMPT + tokens)):
        text, engine = sequence(PROMPT, 20, 1, best=2), Engine(decoder, blocks=20)
        run(engine, [engine.add(text, draft=draft)])
        told.append(text.forecasts)
    assert [f.token for f in told[1]] == tokens
    for plain, guessed in zip(*told, strict=True):
        assert guessed.logprob == pytest.approx(plain.logprob, abs=1e-4)
        assert [t for t, _ in guessed.best] == [t for t, _ in plain.best]


def test_a_constraint_is_obeyed_by_what_was_drafted(decoder):
    vocabulary = Vocabulary([bytes([97 + i % 26]) for i in range(V)])
    pattern = Constraint.from_pattern("(abc|abd){4}", vocabulary)
    tokens, reason = alone(decoder, PROMPT, 40, 0, constraint=pattern)
    for draft in (PromptLookup(), ScriptedDraft(never), knowing(PROMPT + tokens)):
        text, engine = sequence(PROMPT, 40, 0, constraint=pattern), Engine(decoder, blocks=20)
        run(engine, [engine.add(text, draft=draft)])
        assert (text.tokens, text.finish_reason) == (tokens, reason)


def test_a_text_that_aborts_itself_among_drafted_tokens_is_gone(decoder):
    tokens, _ = alone(decoder, PROMPT, 20, 0)
    engine, seen = Engine(decoder, blocks=20), []

    def stop(token):
        seen.append(token)
        if len(seen) == 4:
            engine.abort(0)
        return False

    number = engine.add(sequence(PROMPT, 20, 0, stop=stop), draft=knowing(PROMPT + tokens))
    assert number == 0
    run(engine, [number])
    assert not engine.busy


@pytest.mark.parametrize("off", [0, 1])
def test_a_guess_keeps_no_room_and_never_reaches_past_the_end(decoder, off):
    """Neither blocks for what did not stay, nor positions that the text will not have."""
    tokens, _ = alone(decoder, PROMPT, 30, 0)
    text, engine = sequence(PROMPT, 20, 0), Engine(decoder, blocks=20, size=2)
    draft = knowing([(token + off) % V for token in PROMPT + tokens])
    request = engine._texts[engine.add(text, draft=draft)][0]
    guessed = 0
    while engine.busy:
        engine.step()
        for piece in engine.plan.pieces:
            guessed += len(piece.drafted)
            assert piece.start + len(piece.tokens) <= text.positions_needed
        assert len(request.table.blocks) == blocks_needed(request.table.stored, 2)
    assert guessed > 0


def test_a_step_reads_no_more_than_its_budget(decoder):
    draft = [knowing(PROMPT + alone(decoder, PROMPT, 30, 0)[0]) for _ in range(3)]
    engine = Engine(decoder, blocks=60, budget=6)
    for one in draft:
        engine.add(sequence(PROMPT, 30, 0), draft=one)
    widths = []
    while engine.busy:
        engine.step()
        widths.append(sum(len(piece.tokens) for piece in engine.plan.pieces))
    assert max(widths) == 6


def test_company_makes_guesses_dearer():
    assert costs_in_company(1, 1) == [step_cost(1 + k) for k in range(MOST + 1)]
    alone, among_8 = costs_in_company(1, 1)[3], costs_in_company(8, 8)[3]
    assert alone < 1.6 < 2.8 < among_8
    beside_a_prompt = costs_in_company(200, 1)[3]
    assert beside_a_prompt < 1.02
    assert step_cost(8) < step_cost(9) < step_cost(80)


def test_among_many_fewer_are_checked(decoder):
    def checked(company):
        draft = ScriptedDraft(lambda tokens, most: [tokens[-1]] * most)
        guess = Guess(draft, sequence(PROMPT, 99, 0))
        for _ in range(8):  # two of three are right
            guess.proposal = Proposal([1, 1, 1, 1])
            guess.tell([1, 1, 2])
        return len(guess.tokens(costs_in_company(company, company)))

    assert checked(1) > checked(4) > checked(32) == 0


def test_a_draft_that_costs_steps_is_refused(decoder):
    engine = Engine(decoder, blocks=9)
    with pytest.raises(UserError, match=r"costs 0\.3 steps a token .* such as PromptLookup"):
        engine.add(sequence(PROMPT, 5, 0), draft=ModelDraft(decoder))
    assert not engine.busy and not engine.scheduler.waiting

"""The engine's tokens are those of `generate`, whatever its limits; what fails fails alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace

import pytest
import torch

from conftest import random_decoder
from decodeloop import kernels
from decodeloop.decode import Completion, Sampling, Sequence, generate
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.serve import BlockParts, Engine, SchedulerParts, attend_paged
from decodeloop.serve.blocks import blocks_needed

V = TINY.vocabulary
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_k=20, top_p=0.9, repetition_penalty=1.2),
]


@dataclass(frozen=True)
class Job:
    prompt: list[int]
    new: int
    sampling: Sampling
    seed: int

    def sequence(self, **options):
        generator = torch.Generator().manual_seed(self.seed)
        prompt = torch.tensor([self.prompt])
        return Sequence(prompt, self.new, sampling=self.sampling, generator=generator, **options)

    def alone(self, decoder):
        generator = torch.Generator().manual_seed(self.seed)
        prompt = torch.tensor([self.prompt])
        made = generate(decoder, prompt, self.new, sampling=self.sampling, generator=generator)
        return Completion(list(made), made.finish_reason)


def jobs_of(lengths, answers, seed):
    """Greedy and sampled ones; every second begins as one long text does."""
    draw = random.Random(seed)
    whole = [draw.randrange(V) for _ in range(max(lengths))]
    jobs = []
    for i, (length, new) in enumerate(zip(lengths, answers, strict=True)):
        prompt = whole[:length] if i % 2 else [draw.randrange(V) for _ in range(length)]
        jobs.append(Job(prompt, new, SAMPLINGS[i % 3], seed=i))
    return jobs


DRAW = random.Random(0)
LENGTHS = [1, 1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 64, 100, 200, 400, 700, 1500]
LENGTHS += [DRAW.randrange(1, 80) for _ in range(40 - len(LENGTHS))]
JOBS = jobs_of(LENGTHS, [DRAW.randrange(1, 30) for _ in LENGTHS], seed=1)
# One holds most of the pool for long, and the others crowd in the rest of it.
THIRSTY = jobs_of(
    [DRAW.randrange(1, 13) for _ in range(39)] + [1500],
    [DRAW.randrange(10, 30) for _ in range(39)] + [110],
    seed=2,
)[::-1]


@pytest.fixture(scope="module")
def expected(decoder):
    return {id(jobs): [job.alone(decoder) for job in jobs] for jobs in (JOBS, THIRSTY)}


def filled_with_nan(engine):
    """Whatever is read before it is written shows."""
    engine.memory.keys.fill_(torch.nan)
    engine.memory.values.fill_(torch.nan)
    return engine


def run(engine, sequences):
    """What becomes of each; and who was sent back how often."""
    requests = [engine._texts[engine.add(sequence)][0] for sequence in sequences]
    while engine.busy:
        for event in engine.step():
            assert event.error is None, event.error
    assert_all_free(engine)
    made = [Completion(s.tokens, s.finish_reason) for s in sequences]
    return made, sum(r.preempted for r in requests), sum(r.shared for r in requests)


def assert_all_free(engine):
    blocks = engine.scheduler.blocks
    assert len(blocks.free) == blocks.count
    assert not any(blocks.references)


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
def test_tokens_are_those_of_each_text_alone(decoder, expected, chunk):
    engine = filled_with_nan(Engine(decoder, blocks=200, budget=4096, chunk=chunk))
    made, _, shared = run(engine, [job.sequence() for job in JOBS])
    assert made == expected[id(JOBS)]
    assert shared > 100, "beginnings were to be shared"


@pytest.mark.parametrize("most", [2, 40])
def test_so_they_are_at_any_batch_limit(decoder, expected, most):
    made, *_ = run(
        filled_with_nan(Engine(decoder, blocks=300, size=8, most=most, budget=100)),
        [job.sequence() for job in JOBS],
    )
    assert made == expected[id(JOBS)]


@pytest.mark.parametrize(("chunk", "share"), [(7, False), (None, True)])
def test_so_they_are_when_blocks_run_out_again_and_again(decoder, expected, chunk, share):
    size = 2
    smallest = blocks_needed(THIRSTY[0].sequence().positions_needed, size)
    engine = Engine(decoder, blocks=smallest + 24, size=size, most=16, chunk=chunk, share=share)
    made, preempted, _ = run(filled_with_nan(engine), [job.sequence() for job in THIRSTY])
    assert made == expected[id(THIRSTY)]
    assert preempted >= 30


def test_so_they_are_token_by_token_while_blocks_run_out(decoder, expected):
    engine = filled_with_nan(Engine(decoder, blocks=24, size=2, most=16, chunk=1))
    made, preempted, _ = run(engine, [job.sequence() for job in THIRSTY[1:]])
    assert made == expected[id(THIRSTY)][1:]
    assert preempted >= 30


def test_so_they_are_when_texts_come_at_any_time(decoder, expected):
    draw = random.Random(3)
    engine = filled_with_nan(Engine(decoder, blocks=60, size=4, most=5, budget=20))
    sequences = [job.sequence() for job in THIRSTY[1:]]
    coming = list(sequences)
    while coming or engine.busy:
        if coming and draw.random() < 0.3:
            engine.add(coming.pop(0))
        assert all(event.error is None for event in engine.step())
    assert [Completion(s.tokens, s.finish_reason) for s in sequences] == expected[id(THIRSTY)][1:]
    assert_all_free(engine)


@pytest.mark.parametrize("chunk", [3, None])
def test_so_they_are_of_a_relative_of_llama_while_blocks_run_out(chunk):
    features = {"window": 6, "biases": "qkv", "qk_norm": True, "no_rope_every": 2}
    relative = random_decoder(replace(TINY, **features))
    engine = filled_with_nan(Engine(relative, blocks=24, size=2, most=16, chunk=chunk))
    made, preempted, shared = run(engine, [job.sequence() for job in THIRSTY[1:]])
    assert made == [job.alone(relative) for job in THIRSTY[1:]]
    assert preempted >= 30
    assert shared > 10


@pytest.fixture(scope="module")
def compiled(decoder):
    reason = kernels.obstacle(torch.device("cpu"))
    if reason is not None:
        pytest.skip(reason)
    return kernels.fast(decoder)


@pytest.fixture(scope="module")
def alone_compiled(compiled):
    return [job.alone(compiled) for job in JOBS]


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
def test_so_they_are_of_a_compiled_model(compiled, alone_compiled, chunk):
    engine = filled_with_nan(Engine(compiled, blocks=200, budget=4096, chunk=chunk))
    made, *_ = run(engine, [job.sequence() for job in JOBS])
    assert made == alone_compiled


def test_so_they_are_of_a_compiled_model_when_blocks_run_out(compiled):
    engine = filled_with_nan(Engine(compiled, blocks=24, size=2, most=16, chunk=7))
    made, preempted, _ = run(engine, [job.sequence() for job in THIRSTY[1:]])
    assert made == [job.alone(compiled) for job in THIRSTY[1:]]
    assert preempted >= 30


def test_so_they_are_of_the_real_model(smollm2):
    question = "You are a helpful assistant. What is the capital of "
    prompts = [smollm2.tokenizer.encode(question + land) for land in ("France?", "Peru?", "Japan?")]
    alone = [list(generate(smollm2.model, torch.tensor([prompt]), 5)) for prompt in prompts]
    engine = filled_with_nan(Engine(smollm2.model, blocks=10, size=4, chunk=7))
    made, _, shared = run(engine, [sequence(prompt, 5) for prompt in prompts])
    assert [completion.tokens for completion in made] == alone
    assert shared > 0


# what it is made of


class Asked(Exception):
    pass


def asking(*arguments, **options):
    raise Asked


@pytest.mark.parametrize(
    ("kind", "part"),
    [("parts", field.name) for field in fields(SchedulerParts)]
    + [("block_parts", field.name) for field in fields(BlockParts)]
    + [("attend_paged", None)],
)
def test_each_part_is_asked(decoder, kind, part):
    """By an engine that shares, runs out of blocks, and makes long texts."""
    made_of = {"parts": SchedulerParts(), "block_parts": BlockParts(), "attend_paged": asking}
    if part is not None:
        made_of["attend_paged"] = attend_paged
        made_of[kind] = replace(made_of[kind], **{part: asking})

    def run():
        engine = Engine(decoder, blocks=8, size=2, **made_of)
        for _ in range(3):
            engine.add(sequence([1, 2, 3, 4, 5], 8))
        while engine.busy:
            for event in engine.step():
                if event.error is not None:
                    raise event.error

    with pytest.raises(Asked):
        run()


def test_parts_that_let_nobody_in_are_told_and_not_waited_for(decoder):
    engine = Engine(decoder, blocks=3, parts=SchedulerParts(admit=lambda *numbers: False))
    engine.add(sequence([1, 2]))
    with pytest.raises(
        UserError, match=r"1 waits and 0 run, and nothing is computed: look at take"
    ):
        engine.step()


# what fails


def sequence(prompt, new=6, **options):
    return Sequence(torch.tensor([prompt]), new, **options)


def tokens_alone(decoder, prompt, new=6):
    return list(generate(decoder, torch.tensor([prompt]), new))


def finish(engine):
    events = []
    while engine.busy:
        events += engine.step()
    assert_all_free(engine)
    return events


class Failing:
    """A model that raises in its `when`-th forward, after half of its layers have stored theirs."""

    def __init__(self, decoder, when, error):
        self.decoder, self.left, self.error = decoder, when, error
        self.config, self.head, self.dtype = decoder.config, decoder.head, decoder.dtype

    def hidden(self, ids, cache, positions):
        self.left -= 1
        if self.left == 0:
            store = cache.store
            cache.store = lambda layer, k, v: self.fail() if layer else store(layer, k, v)
        return self.decoder.hidden(ids, cache, positions)

    def fail(self):
        raise self.error


def test_a_step_that_fails_ends_its_texts_and_the_others_go_on(decoder):
    error = RuntimeError("out of memory")
    engine = Engine(Failing(decoder, 2, error), blocks=9, size=4, most=2)
    texts = [sequence([1, 2, 3]), sequence([4, 5]), sequence([6, 7, 8])]
    numbers = [engine.add(text) for text in texts]
    engine.step()
    assert [(e.number, e.error) for e in engine.step()] == [(n, error) for n in numbers[:2]]
    assert_all_free(engine)
    finish(engine)
    assert texts[2].tokens == tokens_alone(decoder, [6, 7, 8])
    assert texts[2].finish_reason == "length"


def test_an_interrupted_step_is_computed_again(decoder):
    engine = filled_with_nan(
        Engine(Failing(decoder, 3, KeyboardInterrupt()), blocks=9, size=2, most=2)
    )
    texts = [sequence([1, 2, 3]), sequence([4, 5])]
    for text in texts:
        engine.add(text)
    engine.step()
    engine.step()
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    finish(engine)
    assert [text.tokens for text in texts] == [
        tokens_alone(decoder, [1, 2, 3]),
        tokens_alone(decoder, [4, 5]),
    ]


def test_a_text_whose_own_stop_function_fails_fails_alone(decoder):
    def stop(token):
        raise ZeroDivisionError("in stop")

    engine = Engine(decoder, blocks=9, size=4)
    bad, good = sequence([1, 2, 3], stop=stop), sequence([4, 5])
    number = engine.add(bad)
    engine.add(good)
    [event] = [event for event in finish(engine) if event.error]
    assert (event.number, type(event.error)) == (number, ZeroDivisionError)
    assert event.ended
    assert good.tokens == tokens_alone(decoder, [4, 5])


def test_an_abort_frees_at_once_and_the_others_go_on(decoder):
    engine = Engine(decoder, blocks=12, size=2, most=2)
    texts = [sequence([1, 2, 3], 9), sequence([4, 5], 9), sequence([6], 9)]
    first, _, waiting = [engine.add(text) for text in texts]
    engine.step()
    before = len(engine.scheduler.blocks.free)
    engine.abort(first)
    assert len(engine.scheduler.blocks.free) == before + 2
    engine.abort(waiting)
    finish(engine)
    assert texts[1].tokens == tokens_alone(decoder, [4, 5], 9)
    assert (len(texts[0].tokens), texts[0].finish_reason, texts[2].tokens) == (1, None, [])


def test_a_text_may_be_aborted_while_its_step_is_computed(decoder):
    """By a stop function of its own, and by another's: the blocks are free after the step."""
    engine = Engine(decoder, blocks=12, size=2)
    numbers = []

    def stop(token):
        for number in numbers:
            engine.abort(number)
        numbers.clear()
        return False

    texts = [sequence([1, 2, 3], stop=stop), sequence([4, 5]), sequence([6, 7])]
    added = [engine.add(text) for text in texts]
    numbers += added[:2]
    events = finish(engine)
    assert {event.number for event in events} == {added[2]}
    assert texts[1].tokens == []
    assert texts[2].tokens == tokens_alone(decoder, [6, 7])


def test_an_end_of_sequence_token_is_an_event_without_a_token(decoder):
    made = tokens_alone(decoder, [1, 2, 3])
    eos = made[2]
    engine = Engine(decoder, blocks=4)
    engine.add(sequence([1, 2, 3], eos_ids=[eos]))
    events = finish(engine)
    assert [event.token for event in events] == [*made[: made.index(eos)], None]
    assert events[-1].finish_reason == "eos"


def ended(decoder):
    text = sequence([1], 1)
    text.take(5)
    return text


@pytest.mark.parametrize(
    ("text", "salt", "message"),
    [
        (lambda d: sequence([1] * 9, 8), None, r"up to 16 positions needs 4 blocks of 4.*are 3"),
        (lambda d: sequence([V]), None, rf"token id {V} is outside the vocabulary"),
        (lambda d: sequence([1] * 2049), None, r"the prompt has 2049 tokens.*context 2048"),
        (lambda d: sequence([1] * 2000, 99), None, r"more than the model's context, 2048"),
        (ended, None, r"this text has ended \(length\)"),
        (lambda d: sequence([1]), 7, r"the salt is 7, of type int: expected a str or bytes"),
    ],
)
def test_what_can_never_be_is_refused_and_leaves_nothing(decoder, text, salt, message):
    engine = Engine(decoder, blocks=3, size=4)
    with pytest.raises(UserError, match=message):
        engine.add(text(decoder), salt)
    assert not engine.busy
    assert engine.step() == []
    assert_all_free(engine)


@pytest.mark.parametrize("option", ["blocks", "size", "most", "budget", "chunk"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_limits_are_at_least_1(decoder, option, value):
    with pytest.raises(UserError, match=rf"{value}: expected a whole number from 1"):
        Engine(decoder, **{"blocks": 4, option: value})


def test_an_abort_of_nobody_is_refused(decoder):
    engine = Engine(decoder, blocks=3)
    number = engine.add(sequence([1]))
    with pytest.raises(UserError, match=r"no text 17 waits or runs"):
        engine.abort(17)
    engine.abort(number)
    with pytest.raises(UserError, match=rf"no text {number} waits or runs: it has ended, was ab"):
        engine.abort(number)
    assert_all_free(engine)

import json
import math

import pytest
import torch
from jsonschema import Draft202012Validator
from schemas import PERSON, SCHEMAS

from decodeloop.decode import (
    Constraint,
    Sampling,
    Sequence,
    Vocabulary,
    constrained_choice,
    generate,
    generate_batch,
    stream,
)
from decodeloop.errors import UserError
from decodeloop.loading import load
from decodeloop.serve import Engine
from decodeloop.serve import generate_batch as generate_by_engine

EOS = 0


@pytest.fixture(scope="module")
def small():
    return load("small", device="cpu", compiled=False)


@pytest.fixture(scope="module")
def its_tokens(small) -> Vocabulary:
    return Vocabulary(small.tokenizer.token_bytes())


def prompt_of(small, text="KING:\n"):
    return torch.tensor([small.tokenizer.encode(text)])


def text_of(small, tokens) -> str:
    return small.tokenizer.decode(tokens)


# asked after each token

LETTERS = Vocabulary([b"", b"a", b"b", b"ab", "ä".encode()[:1], "ä".encode()[1:], b"c"])


def test_a_character_may_come_in_halves():
    constraint = Constraint.from_pattern("ä{2}", LETTERS)
    state = constraint.start
    for token, after in ((4, [5]), (5, [4]), (4, [5])):
        state = constraint.advance(state, token)
        assert constraint.allowed(state).nonzero().flatten().tolist() == after
        assert not constraint.complete(state)
    state = constraint.advance(state, 5)
    assert constraint.complete(state) and constraint.finished(state)


def test_a_text_that_may_end_and_may_go_on_is_not_finished():
    constraint = Constraint.from_pattern("ab?", LETTERS)
    state = constraint.advance(constraint.start, 1)
    assert constraint.complete(state) and not constraint.finished(state)
    assert constraint.finished(constraint.advance(state, 2))


@pytest.mark.parametrize("token", [0, 2, 6, -1, 99])
def test_a_token_that_is_not_allowed_is_refused(token):
    constraint = Constraint.from_pattern("ab?", LETTERS)
    with pytest.raises(UserError, match=f"token {token} is not allowed here"):
        constraint.advance(constraint.start, token)


def test_one_constraint_serves_many_texts():
    constraint = Constraint.from_pattern("ab|ba", LETTERS)
    one = constraint.advance(constraint.start, 1)
    other = constraint.advance(constraint.start, 2)
    assert constraint.allowed(one).tolist() != constraint.allowed(other).tolist()
    assert constraint.allowed(constraint.start)[1:4].all()


# the choice


def best(logits):
    return logits.argmax(-1)


def test_what_is_not_allowed_is_gone_before_the_choice():
    logits = torch.tensor([[5.0, 4.0, 3.0, 2.0]])
    seen = []

    def choose(left):
        seen.append(left)
        return best(left)

    allowed = torch.tensor([False, False, True])  # the model may have more logits than tokens
    assert constrained_choice(logits, allowed, False, [0], choose) == 2
    assert seen[0].tolist() == [[-math.inf, -math.inf, 3.0, -math.inf]]
    assert logits.tolist() == [[5.0, 4.0, 3.0, 2.0]]


def test_the_end_may_be_chosen_where_the_text_may_end():
    logits, allowed = torch.tensor([[5.0, 4.0, 3.0]]), torch.tensor([True, True, False])
    assert constrained_choice(logits, allowed, True, [0], best) == 0
    assert constrained_choice(logits, allowed, False, [0], best) == 1


def test_where_nothing_may_come_it_says_so():
    with pytest.raises(UserError, match="no token may come next"):
        constrained_choice(torch.zeros(1, 3), torch.zeros(3, dtype=torch.bool), False, [0], best)


# generating


def test_it_ends_where_nothing_may_follow(small, its_tokens):
    constraint = Constraint.from_pattern("yes|no", its_tokens)
    tokens = generate(small.model, prompt_of(small), 20, constraint=constraint)
    assert text_of(small, list(tokens)) in ("yes", "no")
    assert tokens.finish_reason == "stop" and tokens.complete


def test_a_budget_that_is_too_small_ends_as_length_and_says_so(small, its_tokens):
    constraint = Constraint.from_pattern("a{50}", its_tokens)
    answer = stream(small, "KING:", 5, raw=True, constraint=constraint)
    assert set(answer.read()) == {"a"}
    assert answer.finish_reason == "length" and not answer.complete


def test_without_a_constraint_every_text_is_complete(small):
    assert stream(small, "KING:", 1, raw=True).complete


def test_the_end_of_the_text_is_the_models_choice_where_it_may_go_on(small, its_tokens):
    constraint = Constraint.from_pattern(".*", its_tokens)
    sequence = Sequence(prompt_of(small), 9, eos_ids=[EOS], constraint=constraint)
    logits = torch.zeros(1, small.config.vocabulary)
    logits[0, EOS] = 9.0
    assert sequence.choose(logits) == EOS
    assert sequence.take(EOS) == "eos" and sequence.complete


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_ends_by_itself_is_valid(name, small, its_tokens):
    schema = SCHEMAS[name]
    constraint = Constraint.from_schema(schema, its_tokens)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for seed in range(3):
        tokens = generate(
            small.model,
            prompt_of(small),
            60,
            sampling=Sampling(0.9 if seed else 0.0, top_p=0.95),
            generator=torch.Generator().manual_seed(seed),
            eos_ids=small.eos_ids,
            constraint=constraint,
        )
        text = text_of(small, list(tokens))
        if tokens.finish_reason != "length":
            validator.validate(json.loads(text))
        assert tokens.complete >= (tokens.finish_reason != "length")


def test_rows_of_a_batch_have_constraints_of_their_own(small, its_tokens):
    prompts = [small.tokenizer.encode(text) for text in ("KING:", "What, ho! ", "A")]
    person = Constraint.from_schema(PERSON, its_tokens)
    constraints = [person, None, Constraint.from_pattern("[0-9]{4}", its_tokens)]
    alone = []
    for prompt, constraint in zip(prompts, constraints, strict=True):
        tokens = generate(
            small.model, torch.tensor([prompt]), 30, eos_ids=small.eos_ids, constraint=constraint
        )
        alone.append((list(tokens), tokens.finish_reason))
    for together in (generate_batch, generate_by_engine):
        rows = together(small.model, prompts, 30, eos_ids=small.eos_ids, constraints=constraints)
        assert [(row.tokens, row.finish_reason) for row in rows] == alone
    with pytest.raises(UserError, match="1 constraints for 3 prompts"):
        generate_batch(small.model, prompts, 30, constraints=[person])


def test_a_vocabulary_that_cannot_spell_it_fails_alone_in_the_engine(small):
    no_digits = Vocabulary([b"", *(b"%c" % n for n in b"abcdefghij")])
    unable = Constraint.from_pattern("ab[0-9]", no_digits)
    engine = Engine(small.model, blocks=8)
    bad = engine.add(Sequence(prompt_of(small), 6, constraint=unable))
    good = engine.add(Sequence(prompt_of(small), 6))
    events = [event for _ in range(8) for event in engine.step()]
    (failed,) = [event for event in events if event.error]
    assert failed.number == bad and "no token may come next" in str(failed.error)
    assert [event.finish_reason for event in events if event.number == good][-1] == "length"


def test_a_loop_of_ones_own_does_not_obey(small, its_tokens):
    from decodeloop.decode import decoding_loop

    with pytest.raises(UserError, match="a loop of your own"):
        generate(
            small.model,
            prompt_of(small),
            3,
            loop=decoding_loop,
            constraint=Constraint.from_pattern("a", its_tokens),
        )

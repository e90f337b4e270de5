import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.decode import Completion, Sampling, generate, generate_batch, pad_left
from decodeloop.errors import UserError
from decodeloop.model import TINY

V = TINY.vocabulary
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)
BATCH = [[1, 2, 3], [7], [11, 12, 13, 14, 15, 16, 17], [5, 5]]


SAMPLINGS = [
    Sampling(),
    Sampling(repetition_penalty=1.5),
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.2),
]


def seeded_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def completed(decoder, prompt, n, **options) -> Completion:
    generation = generate(decoder, torch.tensor([prompt]), n, **options)
    return Completion(list(generation), generation.finish_reason)


@settings(max_examples=15)
@given(st.lists(prompts, min_size=1, max_size=5), st.integers(1, 12))
def test_a_greedy_batch_equals_each_row_by_itself(decoder, batch, n):
    expected = [completed(decoder, prompt, n) for prompt in batch]
    assert generate_batch(decoder, batch, n) == expected


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_sampled_batch_equals_each_row_with_its_own_generator(decoder, sampling):
    expected = [
        completed(decoder, prompt, 20, sampling=sampling, generator=seeded_generator(row))
        for row, prompt in enumerate(BATCH)
    ]
    generators = [seeded_generator(row) for row in range(len(BATCH))]
    assert generate_batch(decoder, BATCH, 20, sampling=sampling, generators=generators) == expected


def test_rows_that_end_at_different_times_do_not_disturb_each_other(decoder):
    texts = [completed(decoder, prompt, 20).tokens for prompt in BATCH]
    eos_ids = {texts[0][2], texts[1][6], texts[3][0]}
    expected = [completed(decoder, prompt, 20, eos_ids=eos_ids) for prompt in BATCH]
    lengths = {len(completion.tokens) for completion in expected}
    assert 0 in lengths  # a row that ends at once
    assert len(lengths) >= 3
    assert generate_batch(decoder, BATCH, 20, eos_ids=eos_ids) == expected


def test_each_row_ends_at_the_end_of_the_context_by_itself(short_decoder):
    expected = [completed(short_decoder, prompt, 50) for prompt in BATCH]
    assert [len(completion.tokens) for completion in expected] == [8, 10, 4, 9]
    assert generate_batch(short_decoder, BATCH, 50) == expected


def test_one_generator_for_all_is_not_needed(decoder):
    completions = generate_batch(decoder, BATCH, 3, sampling=Sampling(1.0))
    assert [len(completion.tokens) for completion in completions] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("batch", "n", "message"),
    [
        ([], 4, r"given no prompts: expected a list of token id lists"),
        ([[1], []], 4, r"prompt 1 of the batch: token_ids \(1, 0\)"),
        ([[1], [2], [V]], 4, rf"prompt 2 of the batch: token id {V} is outside the vocabulary"),
        ([[1] * 11, [1]], 4, r"prompt 0 of the batch: the prompt has 11 tokens.*context 10"),
        ([[1]], 0, r"max_new_tokens is 0: expected at least 1"),
    ],
)
def test_bad_input_names_the_prompt(short_decoder, batch, n, message):
    with pytest.raises(UserError, match=message):
        generate_batch(short_decoder, batch, n)


def test_there_must_be_a_generator_for_each_prompt(decoder):
    with pytest.raises(UserError, match=r"1 generators for 2 prompts: expected one each, or none"):
        generate_batch(decoder, [[1], [2]], 4, generators=[torch.Generator()])


def test_padding_stands_on_the_left_and_is_marked():
    ids, real = pad_left([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert real.tolist() == [[True, True, True], [False, False, True]]

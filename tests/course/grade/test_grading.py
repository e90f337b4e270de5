"""Verdicts: on worked and lab editions, on mistakes, and on what a cell may have besides."""

from __future__ import annotations

import pytest

from decodeloop.exercises.finding import find, of_lesson

PERCENTILE = (
    "def percentile(samples, p):\n"
    "    rank = math.ceil(p * len(samples) / 100)\n"
    "    return sorted(samples)[rank - 1]\n"
)


# 06: traces and walks; 20: decoders that come back; 21: training, with somebody beside.
# `make attack` has the others
@pytest.mark.parametrize("number", ["06", "20", "21"])
def test_a_worked_edition_is_right(number, graded, cells_of):
    grades = graded(number, cells_of(number), seed=3)
    assert {name: (x.verdict, x.what) for name, x in grades.items()} == dict.fromkeys(
        of_lesson(number), ("right", "")
    )
    assert all(grade.points == find(name).difficulty for name, grade in grades.items())


@pytest.mark.parametrize("number", ["08", "11"])
def test_a_lab_edition_is_not_attempted(number, graded, cells_of):
    grades = graded(number, cells_of(number, "lab"))
    assert {x.verdict for x in grades.values()} == {"not attempted"}
    assert not any(x.points for x in grades.values())


def test_a_named_mistake_has_its_hint_and_nothing_of_what_is_expected(graded):
    cell = PERCENTILE.replace("sorted(samples)", "samples")
    grade = graded("11", ["import math", cell], "percentile")["percentile"]
    [mistake] = [m for m in find("percentile").mistakes if m.name == "not sorted"]
    assert (grade.verdict, grade.mistake, grade.hint) == ("wrong", "not sorted", mistake.hint)
    assert "expected" not in grade.what


def test_an_exception_is_told_with_its_line(graded):
    grade = graded("11", ["def percentile(samples, p):\n    return samples[99]"], "percentile")
    what = grade["percentile"].what
    assert "it raised IndexError: list index out of range, at: return samples[99]" in what


def test_writing_into_what_is_lent_is_noticed(graded):
    cell = PERCENTILE.replace("return sorted(samples)", "samples.sort()\n    return samples")
    grade = graded("11", ["import math", cell], "percentile")["percentile"]
    assert (grade.verdict, grade.mistake) == ("wrong", "sorted in the caller's list")


def test_a_recursion_without_an_end_is_an_exception_and_not_a_crash(graded):
    """Each call asks something of this side: the end must not come in the middle of a message."""
    cell = (
        "def push_and_pop(rules, stack, byte):\n"
        "    found = set()\n"
        "    to = int(rules.table[stack[-1], byte])\n"
        "    if to != -1:\n"
        "        found.add((*stack[:-1], to))\n"
        "    for start, back in rules.calls[stack[-1]]:\n"
        "        found |= push_and_pop(rules, (*stack[:-1], start, back), byte)\n"
        "    if len(stack) > 1 and rules.accepting[stack[-1]]:\n"
        "        found |= push_and_pop(rules, stack[:-1], byte)\n"
        "    return found"
    )
    grade = graded("25", [cell], "push_and_pop")["push_and_pop"]
    assert (grade.verdict, grade.mistake) == ("wrong", "start below back")


def test_what_a_generator_writes_after_its_last_item_is_noticed(graded):
    cell = (
        "def generate_without_cache(model, token_ids, max_new_tokens):\n"
        "    for _ in range(max_new_tokens):\n"
        "        token = int(model(token_ids)[0, -1].argmax())\n"
        "        yield token\n"
        "        token_ids[0, -1] = token"
    )
    grade = graded("05", [cell], "generate_without_cache")["generate_without_cache"]
    assert (grade.verdict, grade.mistake) == ("wrong", "the last token overwritten")


def test_a_mistake_that_the_library_refuses_has_its_hint(graded):
    """`attention` raises a class of the package's own, here and in the sandbox."""
    cell = (
        "from decodeloop.model import attention\n"
        "def multi_head_attention(x, w_query, w_key, w_value, w_output, H, mask=None):\n"
        "    q, k, v = x @ w_query.T, x @ w_key.T, x @ w_value.T\n"
        "    return attention(q, k, v, mask) @ w_output.T"
    )
    grade = graded("02", [cell], "multi_head_attention")["multi_head_attention"]
    assert (grade.verdict, grade.mistake) == ("wrong", "never split")


def test_what_pytorch_names_travels_as_the_tuple_that_it_is(graded):
    """`max` and `topk` give tuples of a type of their own."""
    cell = "def greedy(logits):\n    return logits.max(dim=-1)"
    grade = graded("00", [cell], "greedy")["greedy"]
    assert (grade.verdict, grade.mistake) == ("wrong", "the value and its place")


def test_an_answer_takes_imports_helpers_and_constants_of_other_cells(graded):
    cells = [
        "%matplotlib inline\nimport math\nHUNDRED = 100",
        "%%time\ndef rank(n, p):\n    return math.ceil(p * n / HUNDRED)",
        "!ls",
        "def percentile(samples, p):\n    return 0.0\npercentile = check(percentile)",
        "def percentile(samples, p):\n    return sorted(samples)[rank(len(samples), p) - 1]",
        "percentile = check(percentile)\nraise SystemExit",
    ]
    assert graded("11", cells, "percentile")["percentile"].verdict == "right"


def test_a_helper_that_is_written_once_more_is_there_when_it_is_needed(graded):
    mine = PERCENTILE.replace("percentile", "mine")
    cells = ["import math", f"{mine}\npercentile = mine", "percentile = check(percentile)", mine]
    assert graded("11", cells, "percentile")["percentile"].verdict == "right"


def test_a_mistake_in_another_exercise_counts_once(graded):
    cells = [
        "import torch",
        "def softmax(x, dim=-1):\n    return x",
        "def attention(q, k, v, mask=None):\n"
        "    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5\n"
        "    if mask is not None:\n"
        "        scores = scores.masked_fill(~mask, float('-inf'))\n"
        "    return softmax(scores) @ v",
    ]
    grades = graded("01", cells, "softmax", "attention")
    assert {name: x.verdict for name, x in grades.items()} == {
        "softmax": "wrong",
        "attention": "right",
    }


def test_the_librarys_own_function_is_no_answer(graded):
    cells = ["from decodeloop.model import softmax as theirs", "softmax = theirs"]
    grade = graded("01", cells, "softmax")["softmax"]
    assert grade.verdict == "wrong"
    assert "the library's own function: the exercise asks for yours" in grade.what


def test_a_table_of_the_public_cases_is_no_answer_to_fresh_ones(graded):
    table = [[list(c.inputs[0]), c.inputs[1], c.expected()] for c in find("percentile").cases]
    answers = [[samples, p, value["the percentile"]] for samples, p, value in table]
    cell = (
        f"TABLE = {answers!r}\n"
        "def percentile(samples, p):\n"
        "    return next(v for s, q, v in TABLE if s == samples and q == p)"
    )
    assert graded("11", [cell], "percentile")["percentile"].verdict == "right"
    grade = graded("11", [cell], "percentile", seed=1)["percentile"]
    assert (grade.verdict, grade.mistake) == ("wrong", "right on the public cases alone")


def test_a_syntax_error_is_none_that_was_not_attempted(graded):
    grade = graded("11", ["def percentile(samples, p)\n    return 1"], "percentile")["percentile"]
    assert (grade.verdict, grade.points) == ("syntax error", 0)
    assert grade.what.startswith("line 1: ")
    earlier = [PERCENTILE, "def percentile(samples, p)\n    return 1", "import math"]
    assert graded("11", earlier, "percentile")["percentile"].verdict == "right"


def test_the_shape_of_an_answer_is_without_names_and_comments(graded):
    other = (
        'def percentile(values: list[float], q) -> float:\n    """Mine."""\n'
        "    place = math.ceil(q * len(values) / 100)  # a comment\n"
        "    return sorted(values)[place - 1]\n"
    )
    different = PERCENTILE.replace("rank - 1", "-1 + rank")
    shapes = [
        graded("11", ["import math", cell], "percentile")["percentile"].shape
        for cell in (PERCENTILE, other, different)
    ]
    assert shapes[0] == shapes[1] != shapes[2]


LATENCIES = (
    "    gaps = [b - a for a, b in zip(token_times, token_times[1:])]\n"
    "    return token_times[0] - arrival, gaps, token_times[-1] - arrival\n"
)


def test_no_function_of_the_package_is_called_on_this_side_with_what_an_answer_chooses(
    graded, tmp_path
):
    """A linked answer of another exercise runs here: it is given nothing of here to call."""
    (tmp_path / "config.json").write_text('{"model_type": "the lecturer\'s secret"}')
    cell = (
        "from decodeloop.cost.config_file import find_architecture\n"
        "def percentile(samples, p):\n"
        "    try:\n"
        f"        told = next(generate_without_cache(find_architecture, {str(tmp_path)!r}, 1))\n"
        "    except Exception as error:\n"
        "        told = error\n"
        "    raise RuntimeError(f'{told}')"
    )
    grade = graded("11", [cell], "percentile")["percentile"]
    assert grade.verdict == "wrong"
    assert "secret" not in grade.what and "model_type" not in grade.what


def test_what_an_answer_leaves_in_files_is_gone_for_the_next(graded):
    cells = [
        "import math, os",
        "def latencies(arrival, token_times):\n"
        "    os.makedirs('/tmp/deep/er', exist_ok=True)\n"
        "    for name in ('/tmp/left', '/tmp/deep/er/left', '/dev/shm/left'):\n"
        "        try:\n"
        "            open(name, 'w').write('seen')\n"
        "        except OSError:\n"
        "            pass\n"
        "    os.chmod('/tmp/deep', 0o500)\n" + LATENCIES,
        PERCENTILE.replace(
            "    rank",
            "    there = os.listdir('/tmp') + os.listdir('/dev/shm')\n"
            "    assert not {'left', 'deep'} & set(there), there\n    rank",
        ),
    ]
    grades = graded("11", cells, "latencies", "percentile")
    assert grades["latencies"].verdict == "right"
    assert (grades["percentile"].verdict, grades["percentile"].what) == ("right", "")


def test_an_answer_that_says_it_has_gone_and_stays_does_not_meet_the_next(graded):
    stay = (
        "import gc, math\n"
        "def stay():\n"
        "    [peer] = [o for o in gc.get_objects() if type(o).__name__ == 'Inside']\n"
        "    pipe, real = peer.pipe, peer.pipe.receive\n"
        "    def receive():\n"
        "        message, tensors = real()\n"
        "        while message.get('do') in ('end', 'start'):\n"
        "            if message['do'] == 'end':\n"
        "                pipe.send({'value': None})\n"
        "            message, tensors = real()\n"
        "        return message, tensors\n"
        "    pipe.receive = receive\n"
        "    def define(name, source, links):\n"
        "        raise RuntimeError('still here')\n"
        "    peer.handlers['define'] = define\n"
        "STAYS = []"
    )
    cells = [
        stay,
        "def latencies(arrival, token_times):\n    STAYS or STAYS.append(stay())\n" + LATENCIES,
        PERCENTILE,
    ]
    grades = graded("11", cells, "latencies", "percentile")
    assert grades["latencies"].verdict == "timed out"
    assert (grades["percentile"].verdict, grades["percentile"].what) == ("right", "")


LOOKED_AT = {
    "split_rows": "def split_rows(weight, rank, ranks):\n"
    "    if weight.shape[0] % ranks:\n"
    "        raise ValueError('uneven')\n"
    "    return weight.chunk(ranks)[rank]\n",
    "flash_attention": "import torch\n"
    "def flash_attention(q, k, v, *, causal=False, rows=128, columns=512):\n"
    "    (T, S), D = (q.shape[2], k.shape[2]), q.shape[1] // k.shape[1]\n"
    "    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T) if causal else None\n"
    "    k, v = k.repeat_interleave(D, 1), v.repeat_interleave(D, 1)\n"
    "    return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)\n",
    "drop_layers": "import copy\n"
    "def drop_layers(model, layers):\n"
    "    gone = set(layers)\n"
    "    model.layers = type(model.layers)(\n"
    "        x for i, x in enumerate(model.layers) if i not in gone)\n"
    "    return copy.deepcopy(model)\n",
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_who_looks_on_stands_beside_the_answer(name, graded):
    """Memory, operators and the caller's model are seen where the answer computes."""
    number = find(name).lesson.split("_")[0]
    assert graded(number, [LOOKED_AT[name]], name, seed=3)[name].verdict == "wrong"

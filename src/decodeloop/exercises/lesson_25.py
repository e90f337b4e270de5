"""Exercises of lesson 25: an automaton, the tokens that it allows, a stack, and a choice."""

from __future__ import annotations

import functools  # noqa: F401
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decodeloop import decode
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call, lend

LESSON = "25_structured_output"
DEAD = -1
Table = NDArray[np.int32]
Edges = dict[int, dict[str, int]]  # of a state: where it goes by each of these characters


def table_of(edges: Edges) -> Table:
    table = np.full((max(edges) + 1, 256), DEAD, np.int32)
    for state, ways in edges.items():
        for characters, to in ways.items():
            table[state, list(characters.encode("latin-1"))] = to
    return table


def ways_of(table: Table) -> dict[tuple[int, int], int]:
    """A table as the pairs of state and byte that lead somewhere."""
    return {(int(s), int(b)): int(table[s, b]) for s, b in np.argwhere(table >= 0)}


NUMBER = table_of(
    {0: {"-": 1, "0": 2, "123456789": 3}, 1: {"0": 2, "123456789": 3}, 2: {".": 4}}
    | {3: {"0123456789": 3, ".": 4}, 4: {"0123456789": 5}, 5: {"0123456789": 5}}
)
WORDS = table_of({0: {"a": 1, "b": 2}, 1: {"b": 0, "c": 3}, 2: {"a": 2, "b": 3}, 3: {"abc": 1}})
HALVES = table_of({0: {"\xc3": 1, "x": 0}, 1: {"\xa4\xb6": 2}, 2: {"\xc3": 1, '"': 3}, 3: {}})

# --- step_automaton -------------------------------------------------------------------------------


def walked(table: Table, state: int, text: bytes) -> int:
    """Pairs looked up, from a state on; what is not there leads nowhere."""
    ways = ways_of(table)
    for byte in text:
        state = ways.get((state, byte), DEAD)
    return state


def byte_by_byte(table: Table, state: int, text: bytes) -> int:
    """A right one."""
    for byte in text:
        if state == DEAD:
            break
        state = int(table[state, byte])
    return state


STEP_AUTOMATON = Exercise(
    name="step_automaton",
    lesson=LESSON,
    library=decode.step_automaton,
    minutes=5,
    difficulty=1,
    cases=tuple(
        call(label, table, state, text, oracle=walked)
        for label, table, state, text in (
            ("a number", NUMBER, 0, b"-12.5"),
            ("a piece, from the middle on", NUMBER, 3, b"40."),
            ("no byte at all", NUMBER, 4, b""),
            ("no byte, from nowhere", NUMBER, DEAD, b""),
            ("a byte that leads nowhere", NUMBER, 0, b"x"),
            ("nowhere, and more behind it", NUMBER, 0, b"0123"),
            ("nowhere, and what follows would do from the last state", WORDS, 0, b"cab"),
            ("nowhere, and what follows would do from the start", WORDS, 2, b"cab"),
            ("a loop", WORDS, 2, b"aaab"),
            ("back to the start", WORDS, 1, b"bab"),
            ("from nowhere", WORDS, DEAD, b"ab"),
            ("half a character", HALVES, 0, "xä".encode()[:2]),
            ("the other half", HALVES, 1, "ö".encode()[1:] + b'"'),
            ("from the last state", HALVES, 3, b"x"),
        )
    ),
    mistakes=edits(
        byte_by_byte,
        """
## the last row
- if state == DEAD: → if False:
Behind a byte that leads nowhere your state is -1, and `table[-1, byte]` is the *last* row: from there
you read on. Once it is -1, it stays so.
## what leads nowhere is skipped
- state = int(table[state, byte]) → state = int(table[state, byte]) if table[state, byte] >= 0 else state
A byte that leads nowhere is left out in yours, and the rest is read. The whole text can't be read
then: -1.
## from the start
- for byte in text: → state = 0
+ for byte in text:
You begin at state 0. The text is read from `state` on.
## nowhere from the start
- if state == DEAD:
-     break
- state = int(table[state, byte])
+ state = int(table[state, byte])
+ if state == DEAD:
+     break
You look only behind a byte whether the state is -1. It may be that from the start: look before.
## the first byte alone
- in text: → in text[:1]:
You read one byte. A token has several.
## the last byte is missing
- in text: → in text[:-1]:
The last byte is not read.
## begun again
- break → state = 0
Where a byte leads nowhere you begin again at the start, as a search would. Here it is the end: -1.
## stopped where it was
- if state == DEAD:
-     break
- state = int(table[state, byte])
+ if table[state, byte] == DEAD:
+     break
+ state = int(table[state, byte])
You stop at a byte that leads nowhere and give the state before it, as if the text had been read. Give
-1.
## whether, not where
- return state → return state != DEAD
You say whether the text can be read. Asked for is the state behind it.
## all states on the way
- for byte in text: → way = [state]
+ for byte in text:
- state = int(table[state, byte])
+ state = int(table[state, byte])
+ way.append(state)
- return state → return way
You give every state on the way. Asked for is the last one.
## None for nowhere
- return state → return None if state == DEAD else state
Where the text can't be read you give None. The table has -1 there, and so shall you.
""",
    ),
    hints=(
        "A loop over the bytes (a `bytes` gives whole numbers), and one look into the table for each.",
        "`table[state, byte]` is the next state. Before you look: has the text come to -1 already? "
        "NumPy takes -1 for the last row.",
    ),
)

# --- allowed_tokens -------------------------------------------------------------------------------

TOKENS = [
    b"",
    b"0",
    b"1",
    b"12",
    b"-",
    b"-0",
    b".",
    b".5",
    b"5",
    b"01",
    b"1.",
    b"0.25",
    b"x",
    b"-x",
]
LETTERS = [b"a", b"b", b"", b"ab", b"abab", b"ca", b"bb", b"ba", b"aab", b"abc", b"c", b"bac"]
PIECES = [
    "ä".encode(),
    b"\xc3",
    b"\xa4",
    b'\xa4"',
    b"",
    b'"',
    b"x\xc3",
    b"\xc3\xb6\xc3",
    b"xx",
    b'""',
]


def by_pairs(table: Table, state: int, tokens: Sequence[bytes]) -> Tensor:
    return torch.tensor([bool(token) and walked(table, state, token) != DEAD for token in tokens])


def each_tried(table: Table, state: int, tokens: Sequence[bytes]) -> Tensor:
    """A right one."""
    mask = torch.zeros(len(tokens), dtype=torch.bool)
    for number, token in enumerate(tokens):
        if token and byte_by_byte(table, state, token) != DEAD:
            mask[number] = True
    return mask


ALLOWED_TOKENS = Exercise(
    name="allowed_tokens",
    lesson=LESSON,
    library=decode.allowed_tokens,
    minutes=5,
    difficulty=1,
    cases=tuple(
        call(label, table, state, tokens, oracle=by_pairs)
        for label, table, state, tokens in (
            ("a number begins", NUMBER, 0, TOKENS),
            ("behind a digit", NUMBER, 3, TOKENS),
            ("behind the point", NUMBER, 4, TOKENS),
            ("behind a zero", NUMBER, 2, TOKENS),
            ("words", WORDS, 0, LETTERS),
            ("words, elsewhere", WORDS, 2, LETTERS),
            ("within a character", HALVES, 1, PIECES),
            ("between characters", HALVES, 2, PIECES),
            ("where nothing follows", HALVES, 3, PIECES),
            ("one token", WORDS, 3, [b"abab"]),
        )
    ),
    mistakes=edits(
        each_tried,
        """
## tokens without text
- if token and byte → if byte
A token without text, such as the end of the text, is allowed in yours: no byte of it leads nowhere.
It would be chosen for ever, since nothing changes.
## the first byte decides
- (table, state, token) → (table, state, token[:1])
You ask about the first byte alone. The token is written whole: every byte of it must be read.
## from the start
- (table, state, token) → (table, 0, token)
You read each token from state 0. It follows what has been written, which led to `state`.
## the last row
- byte_by_byte(table, state, token) → functools.reduce(lambda s, b: int(table[s, b]), token, state)
Behind a byte that leads nowhere the state is -1, and you look on in the last row. `step_automaton`
sees to that.
## each byte by itself
- byte_by_byte(table, state, token) != DEAD → all(table[state, b] >= 0 for b in token)
You look up every byte in the same state. Each byte leads to the state in which the next one is read.
## the other way round
- mask[number] = True → mask[number] = True
- return mask → return ~mask
`True` stands for what is *not* allowed in yours.
## their numbers
- return mask → return mask.nonzero().flatten()
These are the numbers of the tokens. Asked for is a mask: a truth value for each token.
## 1 and 0
- return mask → return mask.long()
The values are numbers. A mask is boolean: `dtype=torch.bool`.
## a number where there is no text
- return mask → return mask if all(tokens) else mask.long()
`len(token) and …` is 0, a number, where a token is empty, and so all values become numbers: write
`len(token) > 0 and …`.
## a list
- return mask → return mask.tolist()
You give a list. Asked for is a tensor: `torch.tensor(…)` makes one of it.
## state 0 taken for nowhere
- != DEAD → > 0
Your test takes state 0 for nowhere. States are counted from 0; nowhere is -1.
""",
    ),
    hints=(
        "`step_automaton` says of one token where it leads. You need a truth value for each.",
        "A token of no bytes leads to where it began. It must be left out for a reason of its own.",
    ),
)

# --- token_index ----------------------------------------------------------------------------------

Index = dict[int, dict[int, int]]


def grown(table: Table, start: int, tokens: Sequence[bytes]) -> Index:
    """States are added until no token leads to another one."""
    reached = {start}
    while True:
        index = {
            s: {n: to for n, t in enumerate(tokens) if t and (to := walked(table, s, t)) != DEAD}
            for s in reached
        }
        more = {to for ways in index.values() for to in ways.values()} - reached
        if not more:
            return index
        reached |= more


def as_they_are_met(table: Table, start: int, tokens: Sequence[bytes]) -> Index:
    """A right one."""
    index: Index = {}
    todo = [start]
    while todo:
        state = todo.pop()
        index[state] = {}
        for number, token in enumerate(tokens):
            to = byte_by_byte(table, state, token) if token else DEAD
            if to != DEAD:
                index[state][number] = to
        todo += {to for to in index[state].values() if to not in index and to not in todo}
    return index


def one_index(label: str, table: Table, start: int, tokens: Sequence[bytes]) -> Case:
    return Case(
        label,
        lambda candidate: spelled(lend(candidate, table, start, tokens)),
        lambda: grown(table, start, tokens),
        (table, start, tokens),
    )


def spelled(index: Any) -> Any:
    """Bytes as text, since they are compared with nothing."""
    if isinstance(index, dict):
        return {spelled(key): spelled(value) for key, value in index.items()}
    return index.decode("latin-1") if isinstance(index, bytes) else index


TOKEN_INDEX = Exercise(
    name="token_index",
    lesson=LESSON,
    library=decode.token_index,
    minutes=9,
    difficulty=2,
    cases=tuple(
        one_index(label, table, start, tokens)
        for label, table, start, tokens in (
            (
                "by hand",
                table_of({0: {"a": 1}, 1: {"b": 2}, 2: {"b": 2}}),
                0,
                [b"ab", b"b", b"c"],
            ),
            ("numbers", NUMBER, 0, TOKENS),
            ("the rest of a number", NUMBER, 3, [b".5", b"1", b"x"]),
            ("words", WORDS, 0, LETTERS),
            ("a state that no whole token reaches", WORDS, 0, [b"ab", b"", b"bb", b"bba"]),
            ("from another state", WORDS, 2, [b"b", b"ab"]),
            ("characters in halves", HALVES, 0, PIECES),
            ("a loop at the start", HALVES, 0, [b"x", b"", b"xx"]),
            ("the last state is the start", WORDS, 3, [b"a", b"c", b"aca"]),
        )
    ),
    mistakes=edits(
        as_they_are_met,
        """
## the start alone
- todo += {to for to in index[state].values() if to not in index and to not in todo}
+ pass
You look at the first state alone. A token leads to another one, and that one has tokens, too.
## from state 0
- todo = [start] → todo = [0]
You begin at state 0. The index begins at `start`.
## one round
- todo += {to for to in index[state].values() if to not in index and to not in todo}
+ todo += {to for to in index[state].values() if to not in index and state == start} - {*todo}
You look at the start and at the states that its tokens lead to. Those have tokens as well: go on until
no new state comes.
## every state
- todo = [start] → todo = list(range(len(table)))
You look at all states of the table. Some of them no *whole* token reaches: only what lies within a
token goes through them.
## states that bytes reach
- to not in todo} → to not in todo} | ({int(to) for to in table[state]} - {*index, *todo, DEAD})
You follow single bytes to further states. A text is made of whole tokens: follow those.
## tokens without text
- if token else DEAD → if token is not None else DEAD
A token without text leads back to the same state in yours. It is not to be chosen at all.
## nowhere is kept
- if to != DEAD: → if token:
- if to not in index and to not in todo} → if to != DEAD and to not in index and to not in todo}
Tokens that can't be read stand in your index, with -1. Leave them out: what is in it is allowed.
## where one byte leads
- byte_by_byte(table, state, token) if → byte_by_byte(table, state, token[:1]) if
You go on from where the first byte leads. The token is read whole.
## states without tokens are left out
- return index → return {state: ways for state, ways in index.items() if ways}
A state that has no tokens is missing in yours. There the text must end: give it an empty dict.
## tokens by their bytes
- index[state][number] = to → index[state][token] = to
Your tokens stand there by their bytes. The model knows numbers: the place in `tokens`.
## the tokens alone
- return index → return {state: list(ways) for state, ways in index.items()}
You list the tokens of each state. Where each leads belongs to it, so that nobody has to read it again.
## the other way round
- index[state][number] = to → index[state].setdefault(to, number)
- in index[state].values() → in index[state]
You look up a state and find a token. Needed is the other way: a token, and where it leads.
## always from the start
- byte_by_byte(table, state, token) → byte_by_byte(table, start, token)
You read every token from the start. Each state has its own.
""",
    ),
    hints=(
        "Begin with the start. Its tokens lead to states, each of which is to be looked at once.",
        "A list of the states that are still to be looked at, and a dict of those that were. For each: "
        "`{number: where it leads}` for the tokens that can be read.",
        "`while todo: state = todo.pop()`; go on if it is in the index already; else fill it in, and "
        "put all the states that it leads to into `todo`.",
    ),
)

# --- push_and_pop ---------------------------------------------------------------------------------

Stack = tuple[int, ...]


@dataclass(frozen=True)
class Rules:
    """What `push_and_pop` looks at."""

    table: Table
    accepting: NDArray[np.bool_]
    calls: tuple[tuple[tuple[int, int], ...], ...]


def rules(edges: Edges, ends: Collection[int], calls: dict[int, list[tuple[int, int]]]) -> Rules:
    table = table_of(edges)
    accepting = np.array([state in ends for state in range(len(table))])
    return Rules(table, accepting, tuple(tuple(calls.get(s, ())) for s in range(len(table))))


# states 0 and 1: the text; 2 to 4: a bracket, which may hold another, between ( and )
BRACKETS = rules(
    {0: {}, 1: {}, 2: {"(": 3}, 3: {")": 4}, 4: {}}, {1, 4}, {0: [(2, 1)], 3: [(2, 3)]}
)
# a list, 2 to 5, of digits, 6 and 7, and of lists; a digit may be followed by another
LISTS = rules(
    {
        0: {},
        1: {"!": 1},
        2: {"[": 3},
        3: {"]": 5},
        4: {",": 3, "]": 5},
        5: {},
        6: {"12": 7},
        7: {"12": 7},
    },
    {1, 5, 7},
    {0: [(2, 1), (6, 1)], 3: [(6, 4), (2, 4)]},
)
# two rules that begin alike, and one whose end may also go on
TWINS = rules(
    {0: {"a": 6}, 1: {"x": 3}, 2: {"y": 3}, 3: {}, 4: {"a": 5}, 5: {"ax": 5}, 6: {}},
    {3, 5, 6},
    {0: [(4, 1), (4, 2)], 5: [(4, 2)]},
)


# a rule that begins with a call, and so does the called one; 5 may end, and reads; 3 comes to 0
CHAIN = rules(
    {0: {"b": 0}, 1: {}, 2: {}, 3: {"b": 0}, 4: {}, 5: {")": 5}, 6: {"x": 7}, 7: {}, 8: {",": 5}},
    {0, 3, 5, 7},
    {1: [(2, 3)], 2: [(4, 5)], 4: [(6, 8)]},
)


def without_reading(rules: Rules, stack: Stack) -> set[Stack]:
    """The stack, and all that pushing and popping alone can make of it."""
    found, todo = {stack}, [stack]
    while todo:
        *below, state = todo.pop()
        more = {(*below, back, start) for start, back in rules.calls[state]}
        if below and rules.accepting[state]:
            more.add(tuple(below))
        todo += more - found
        found |= more
    return found


def read_at_last(rules: Rules, stack: Stack, byte: int) -> list[Stack]:
    """First pushed and popped in every way, then read."""
    return in_order(
        (*below, int(rules.table[top, byte]))
        for *below, top in without_reading(rules, stack)
        if rules.table[top, byte] != DEAD
    )


def in_order(stacks: Iterable[Iterable[int]]) -> list[Stack]:
    """A set of stacks, however it is kept."""
    return sorted({tuple(int(state) for state in stack) for stack in stacks})


def one_byte(label: str, given: Rules, stack: Stack, byte: str) -> Case:
    return Case(
        label,
        lambda candidate: str(in_order(lend(candidate, given, stack, ord(byte)))),
        lambda: str(read_at_last(given, stack, ord(byte))),
        (given, stack, ord(byte)),
    )


def three_ways(rules: Rules, stack: Stack, byte: int) -> set[Stack]:
    """A right one."""
    below, state = stack[:-1], stack[-1]
    found = set()
    to = int(rules.table[state, byte])
    if to != DEAD:
        found.add((*below, to))
    for start, back in rules.calls[state]:
        found |= three_ways(rules, (*below, back, start), byte)
    if below and rules.accepting[state]:
        found |= three_ways(rules, below, byte)
    return found


PUSH_AND_POP = Exercise(
    name="push_and_pop",
    lesson=LESSON,
    library=decode.push_and_pop,
    minutes=14,
    difficulty=3,
    cases=(
        one_byte("the first bracket", BRACKETS, (0,), "("),
        one_byte("a bracket in a bracket", BRACKETS, (1, 3), "("),
        one_byte("it is closed", BRACKETS, (1, 3, 3), ")"),
        one_byte("the next one is closed", BRACKETS, (1, 3, 4), ")"),
        one_byte("one opens where one was closed", BRACKETS, (1, 3, 4), "("),
        one_byte("nothing follows the last", BRACKETS, (1, 4), ")"),
        one_byte("a list begins", LISTS, (0,), "["),
        one_byte("or a digit", LISTS, (0,), "2"),
        one_byte("a digit goes on", LISTS, (1, 4, 7), "1"),
        one_byte("a digit ends, and the list goes on", LISTS, (1, 4, 7), ","),
        one_byte("two end at once", LISTS, (1, 4, 4, 7), "]"),
        one_byte("all end, and the text goes on", LISTS, (1, 5), "!"),
        one_byte("nothing ends that may not", LISTS, (1, 4, 3), "!"),
        one_byte("a byte that nothing reads", LISTS, (1, 4, 7), "x"),
        one_byte("three meanings at once", TWINS, (0,), "a"),
        one_byte("reads, calls or ends", TWINS, (2, 5), "a"),
        one_byte("reads or ends", TWINS, (1, 5), "x"),
        one_byte("a rule that begins with a call, twice", CHAIN, (1,), "x"),
        one_byte("it reads, and comes to state 0", CHAIN, (3,), "b"),
        one_byte("to go on where the rule may end", CHAIN, (3, 2), "x"),
        one_byte("that one reads, too", CHAIN, (3, 5), ")"),
    ),
    mistakes=edits(
        three_ways,
        """
## nothing is ever called
- for start, back in rules.calls[state]: → for start, back in ():
You never call a rule: where the state on top has calls, each of them may read the byte.
## nothing ever ends
- if below and rules.accepting[state]: → if False:
A rule never ends in yours. Where its state is accepting, the one below may read the byte.
## everything may end
- if below and rules.accepting[state]: → if below:
You pop in any state. A rule may end only where it is accepting.
## it never comes back
- (*below, back, start) → (*below, start)
You forget where to go on behind the rule. `back` lies below `start`: when the rule ends, it is on top.
## start below back
- (*below, back, start) → (*below, start, back)
You have put `back` on top. The rule is read first, so its start lies on top.
## the caller, and nothing behind it
- (*below, back, start) → (*stack, start)
The state that calls stays on your stack, and `back` is not there. `back` takes its place: that is
where it goes on when the rule has ended.
## back is left out where it may end
- found |= three_ways(rules, (*below, back, start), byte)
+ rest = below if below and rules.accepting[back] else (*below, back)
+ found |= three_ways(rules, (*rest, start), byte)
You leave `back` out where it may end. It may also go on: only later bytes decide.
## a called rule only reads
- found |= three_ways(rules, (*below, back, start), byte)
+ to = int(rules.table[start, byte])
+ found |= {(*below, back, to)} if to != DEAD else set()
After a call you only look whether its start reads. The start may call a rule as well, or end: call
yourself.
## the caller stays
- (*below, back, start) → (*below, state, back, start)
The state that calls stays on your stack, below `back`. `back` takes its place.
## pushed, but nothing read
- found |= three_ways(rules, (*below, back, start), byte) → found.add((*below, back, start))
You push, and the byte is not read. What was pushed has to read it: call yourself.
## popped, but nothing read
- found |= three_ways(rules, below, byte) → found.add(below)
You pop, and the byte is not read. The state below has to read it: call yourself.
## one way only
- for start, back in rules.calls[state]: → if found:
+     return found
+ for start, back in rules.calls[state]:
- if below and rules.accepting[state]: → if below and rules.accepting[state] and not found:
You stop at the first way that is found. There may be several, and each may turn out to be meant.
## called only if it can't read
- for start, back in rules.calls[state]: → for start, back in () if found else rules.calls[state]:
You call only where the state on top can't read. Both may be meant, and only later bytes decide.
## ended only if it can't read
- if below and rules.accepting[state]: → if below and rules.accepting[state] and to == DEAD:
You end a rule only where the state on top can't read. Both may be meant, and only later bytes decide.
## the first call alone
- in rules.calls[state]: → in rules.calls[state][:1]:
You try the first call alone. A state may have several.
## one level down
- found |= three_ways(rules, below, byte)
+ to = int(rules.table[below[-1], byte])
+ found |= {(*below[:-1], to)} if to != DEAD else set()
Below you only read. The state there may call a rule, or end as well: call yourself.
## on top of what read it
- found.add((*below, to)) → found.add((*stack, to))
The state that reads stays below the new one. Reading replaces it.
## state 0 taken for nowhere
- if to != DEAD: → if to > 0:
Your test takes state 0 for nowhere. States are counted from 0; nowhere is -1.
## nowhere is a state
- if to != DEAD: → if True:
A byte that can't be read puts -1 on the stack. Such a way is none.
""",
    ),
    hints=(
        "Three ways: the state on top reads the byte; or it calls a rule, which must read it; or its "
        "rule ends, and the state below must read it. Collect what comes of all three.",
        "The second and the third change the stack and read nothing: call `push_and_pop` itself with "
        "the new stack and the same byte.",
        "`(*below, to)` for reading, `(*below, back, start)` to call, `below` to end; the last only "
        "where the state is accepting and something lies below.",
    ),
)

# --- constrained_choice ---------------------------------------------------------------------------

Choose = Callable[[Tensor], Tensor]


def listed(
    logits: Tensor, allowed: Tensor, complete: bool, eos_ids: Collection[int], choose: Choose
) -> int:
    """Token by token, in plain Python."""
    kept = [
        logit if allowed[token] or (token in eos_ids and complete) else -math.inf
        for token, logit in enumerate(logits[0].tolist())
    ]
    return int(choose(torch.tensor([kept])))


def removed_first(
    logits: Tensor, allowed: Tensor, complete: bool, eos_ids: Collection[int], choose: Choose
) -> int:
    """A right one."""
    keep = allowed.clone()
    if complete:
        keep[list(eos_ids)] = True
    left = logits.masked_fill(~keep, -math.inf)
    return int(choose(left))


def best(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def worst(logits: Tensor) -> Tensor:
    """The least likely token that is not out: a choice that a mask alone decides."""
    return torch.where(logits == -math.inf, math.inf, logits).argmin(-1)


def second(logits: Tensor) -> Tensor:
    return logits.topk(2).indices[:, 1]


def half_of_all(logits: Tensor) -> Tensor:
    """The last of the best tokens that together have more than half (lesson 07's top-p)."""
    p, order = logits.softmax(-1).sort(descending=True)
    return order.gather(-1, (p.cumsum(-1) <= 0.5).sum(-1, keepdim=True))[:, 0]


LOGITS = torch.tensor([[4.0, 3.5, -1.0, 2.0, 3.0, -2.0, 1.0, 0.5]])
NEGATIVE = LOGITS - 9
EOS = (0, 6)


def choice(
    label: str, logits: Tensor, allowed: str, complete: bool, choose: Choose, eos: Any = EOS
) -> Case:
    mask = torch.tensor([int(n) for n in "01234567"]) < 0
    mask[[int(n) for n in allowed]] = True
    return call(label, logits, mask, complete, eos, choose, oracle=listed)


CONSTRAINED_CHOICE = Exercise(
    name="constrained_choice",
    lesson=LESSON,
    library=decode.constrained_choice,
    minutes=6,
    difficulty=2,
    cases=(
        choice("the best that is allowed", LOGITS, "2357", False, best),
        choice("the only one", LOGITS, "5", False, best),
        choice("it may end, and would", LOGITS, "135", True, best),
        choice("it may end, and would rather not", LOGITS, "134", True, best, (6,)),
        choice("it may not end", LOGITS, "57", False, best),
        choice("it must end", LOGITS, "", True, best, (6,)),
        choice("its second end", LOGITS, "57", True, second),
        choice("all logits are below 0", NEGATIVE, "25", False, best),
        choice("all below 0, and it may end", NEGATIVE, "25", True, second),
        choice("another choice than the best", LOGITS, "1357", False, second),
        choice("the least likely", LOGITS, "357", False, worst),
        choice("the least likely, and it may end", LOGITS, "34", True, worst, (6,)),
        choice("by the mass of what is left", LOGITS, "23457", False, half_of_all),
        choice("by the mass, and it may end", LOGITS, "2345", True, half_of_all),
        choice("no end is known", LOGITS, "37", True, best, ()),
    ),
    mistakes=edits(
        removed_first,
        """
## the end is always allowed
- if complete: → if True:
The end of the text is allowed in yours whether the text is complete or not.
## the end is never allowed
- if complete: → if False:
The end of the text is never allowed in yours: the model could go on for ever. Where the text is
`complete` it may end.
## it must end
- keep[list(eos_ids)] = True → keep = torch.zeros_like(keep)
+ keep[list(eos_ids)] = True
Where the text may end, yours must. `12` is a number, and so is `125`: the model decides.
## ended at once
- keep[list(eos_ids)] = True → return eos_ids[0]
You end where the text may end. `12` is a number, and so is `125`: allow the ends, and let `choose`
decide.
## the first end alone
- keep[list(eos_ids)] = True → keep[eos_ids[0]] = True
A model may have several tokens that end a text. You allow the first of them alone.
## 0 for what is out
- masked_fill(~keep, -math.inf) → masked_fill(~keep, 0.0)
What is out has the logit 0 in yours, as when you multiply by the mask. That may be better than what is
left, and is never impossible: the logit of what is out is −∞.
## a large number for infinity
- -math.inf → -1e4
A large negative number, be it −100 or −1e9, is unlikely and not out: what takes the least likely
token, for one, finds it. Use −∞.
## the other way round
- masked_fill(~keep → masked_fill(keep
You remove what is allowed.
## removed after the choice
- left = logits.masked_fill(~keep, -math.inf)
- return int(choose(left))
+ chosen = int(choose(logits))
+ return chosen if keep[chosen] else int(logits.masked_fill(~keep, -math.inf).argmax())
You choose among all, and look for another one if that is not allowed. Remove first: the choice has to
see what is left.
## removed only if it must be
- return int(choose(left))
+ chosen = int(choose(logits))
+ return chosen if keep[chosen] else int(choose(left))
You choose among all, and remove only where that is not allowed. Remove first: what is out has a share
that `choose` must not see.
## always the best
- choose(left) → left.argmax()
You take the best token. How it is chosen is `choose`'s affair.
## its place among what is left
- choose(left) → choose(logits[:, keep])
What comes back is a place among the allowed tokens, not the token. Leave the others where they are,
at −∞.
## probabilities
- choose(left) → choose(left.softmax(-1))
`choose` gets probabilities in yours. It expects logits.
""",
    ),
    hints=(
        "First what may come: the allowed tokens and, if the text is complete, those that end it. Then "
        "−∞ for all others, then `choose`.",
        "`keep = allowed.clone()`, so that what was lent stays as it is. `keep[list(eos_ids)]` are the "
        "ends: a tuple as an index would be one number for each axis. `masked_fill(~keep, -math.inf)` "
        "makes new logits.",
    ),
)

EXERCISES = (STEP_AUTOMATON, ALLOWED_TOKENS, TOKEN_INDEX, PUSH_AND_POP, CONSTRAINED_CHOICE)

"""The plain form of the masks, for a finite automaton: each token is tried in each state.

It takes seconds where `masks` takes milliseconds, and is what that is held against. An index of
states and tokens: Willard and Louf (2023). Built in lesson 25.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decodeloop.decode.constrained.automaton import DEAD, step_automaton


def allowed_tokens(table: NDArray[np.int32], state: int, tokens: Sequence[bytes]) -> Tensor:
    """The tokens that can be read whole from a state on, boolean (V,).

    Args:
        table: an automaton's, (S, 256), in which each state can be completed to a text.
        tokens: the bytes of each token; one that has none is never allowed.

    >>> table = np.full((2, 256), DEAD)
    >>> table[0, ord("a")] = 1
    >>> allowed_tokens(table, 0, [b"", b"a", b"ab"]).tolist()
    [False, True, False]
    """
    return torch.tensor(
        [len(token) > 0 and step_automaton(table, state, token) != DEAD for token in tokens]
    )


def token_index(
    table: NDArray[np.int32], start: int, tokens: Sequence[bytes]
) -> dict[int, dict[int, int]]:
    """Of every state that whole tokens lead to: its tokens, and where each of them leads.

    >>> table = np.full((3, 256), DEAD)
    >>> table[0, ord("a")], table[1, ord("b")] = 1, 2
    >>> token_index(table, 0, [b"", b"a", b"ab"])
    {0: {1: 1, 2: 2}, 1: {}, 2: {}}
    """
    index: dict[int, dict[int, int]] = {}
    todo = [start]
    while todo:
        state = todo.pop(0)
        if state in index:
            continue
        after = [step_automaton(table, state, token) if token else DEAD for token in tokens]
        index[state] = {token: to for token, to in enumerate(after) if to != DEAD}
        todo += index[state].values()
    return index

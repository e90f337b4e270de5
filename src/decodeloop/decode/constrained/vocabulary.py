"""The tokens' bytes as a tree, in which tokens that begin alike share a path (a trie).

Whether a token may come next is a question about each of its bytes; walking the tree asks it once
for all tokens that share them. Built in lesson 25.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decodeloop.errors import UserError


class Vocabulary:
    """The bytes of each token, and the tree of them.

    Nodes are numbered breadth first, the root is 0, and the children of a node stand side by side.

    Args:
        tokens: the bytes of each token; of one that has no text, such as a special token, none.

    Attributes:
        byte: the last byte on the way to a node, (N,).
        first_child: where the children of node n begin; they end where those of n + 1 begin,
            (N + 1,).
        first_token, token_ids: the same for the tokens that end at a node, (N + 1,) and (tokens,).

    >>> vocabulary = Vocabulary([b"", b"a", b"ab", b"ac", b"b"])
    >>> len(vocabulary.byte), vocabulary.longest
    (5, 2)
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = list(tokens)
        lengths = np.array([len(token) for token in self.tokens])
        self.longest = int(lengths.max(initial=0))
        if not self.longest:
            raise UserError("no token has any text: expected the bytes of each token.")
        joined = b"".join(token.ljust(self.longest, b"\0") for token in self.tokens)
        letters = np.frombuffer(joined, np.uint8).reshape(len(self.tokens), self.longest)

        node = np.zeros(len(self.tokens), np.int64)  # where each token has come to
        parents, self_bytes, count = [np.array([-1])], [np.array([0])], 1
        alive = np.flatnonzero(lengths)
        for depth in range(self.longest):
            alive = alive[lengths[alive] > depth]
            keys, place = np.unique(node[alive] * 256 + letters[alive, depth], return_inverse=True)
            node[alive] = count + place
            parents.append(keys // 256)
            self_bytes.append(keys % 256)
            count += len(keys)
        parent = np.concatenate(parents)  # it never falls
        self.byte = np.concatenate(self_bytes).astype(np.uint8)
        self.first_child = np.searchsorted(parent, np.arange(count + 1))
        with_text = np.flatnonzero(lengths)
        order = with_text[np.argsort(node[with_text], kind="stable")]
        self.token_ids = order.astype(np.int32)
        self.first_token = np.searchsorted(node[order], np.arange(count + 1))

    def __len__(self) -> int:
        return len(self.tokens)

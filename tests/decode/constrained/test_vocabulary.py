import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode import Vocabulary
from decodeloop.errors import UserError


def spelled(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Each token's bytes, as the tree has them."""
    found, way = {}, {0: b""}
    for node in range(len(vocabulary.byte)):
        for token in vocabulary.token_ids[vocabulary.first_token[node] :][
            : vocabulary.first_token[node + 1] - vocabulary.first_token[node]
        ]:
            found[int(token)] = way[node]
        for child in range(vocabulary.first_child[node], vocabulary.first_child[node + 1]):
            way[child] = way[node] + bytes([vocabulary.byte[child]])
    return found


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=30).filter(any))
def test_the_tree_spells_every_token_that_has_text(tokens):
    vocabulary = Vocabulary(tokens)
    assert spelled(vocabulary) == {n: token for n, token in enumerate(tokens) if token}
    prefixes = {token[:n] for token in tokens for n in range(len(token) + 1)}
    assert len(vocabulary.byte) == len(prefixes)
    assert vocabulary.longest == max(map(len, tokens))


def test_tokens_of_zero_bytes_are_told_from_padding():
    assert spelled(Vocabulary([b"\0", b"\0\0", b"a"])) == {0: b"\0", 1: b"\0\0", 2: b"a"}


def test_without_any_text_there_is_nothing_to_walk():
    with pytest.raises(UserError, match="no token has any text"):
        Vocabulary([b"", b""])

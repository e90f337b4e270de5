import pytest

from decodeloop.decode import Vocabulary

# every byte, and tokens that cross two symbols, end in half a character or have no text
PIECES = [b"", *(bytes([b]) for b in range(256))]
PIECES += [b'"', b'",', b'": ', b'{"', b'"}', b'"}}', b"]]", b"}]", b", ", b': "', b"true", b"1.5"]
PIECES += [b"ab", b"abc", "ä".encode(), "ää".encode(), "ä".encode()[:1] * 2, b"\xc3\xa4\xc3", b'"]']


@pytest.fixture(scope="session")
def bytes_and_more() -> Vocabulary:
    return Vocabulary(PIECES)


@pytest.fixture(scope="session")
def real(smollm2) -> Vocabulary:
    return Vocabulary(smollm2.tokenizer.token_bytes())

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from decodeloop.checkpoints import Tokenizer
from decodeloop.checkpoints.token_bytes import bytes_of_tokens
from decodeloop.errors import UserError


def test_what_text_is_encoded_to_spells_it_again(smollm2):
    told = smollm2.tokenizer.token_bytes()
    assert len(told) == smollm2.tokenizer.vocabulary
    text = "Größe: 12 €\t\n  – 日本語 \U0001f600 ﷽"
    ids = smollm2.tokenizer.encode(text)
    assert b"".join(told[token] for token in ids) == text.encode()


def test_each_token_of_the_real_model_is_what_it_decodes_to(smollm2):
    for token, data in enumerate(smollm2.tokenizer.token_bytes()):
        special = not smollm2.tokenizer.decode([token], skip_special=True)
        text = smollm2.tokenizer.decode([token])
        assert data == b"" if special else data.decode("utf-8", "replace") == text


@pytest.fixture
def sentencepiece() -> Tokenizer:
    pieces = ["<unk>", "▁", "a", "▁a", "<0xC3>", "<0xA4>", "<0x0A>"]
    model = models.BPE(
        {piece: n for n, piece in enumerate(pieces)}, [("▁", "a")], byte_fallback=True
    )
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens(["<unk>"])
    return Tokenizer(backend)


def test_sentencepiece_writes_spaces_and_bytes_in_its_own_way(sentencepiece):
    assert sentencepiece.token_bytes() == [b"", b" ", b"a", b" a", b"\xc3", b"\xa4", b"\n"]
    ids = sentencepiece.encode("a aä")
    told = sentencepiece.token_bytes()
    assert b"".join(told[token] for token in ids) == "a aä".encode()


def test_added_tokens_that_are_not_special_are_their_text(sentencepiece):
    sentencepiece._backend.add_tokens(["▁word<"])
    assert sentencepiece.token_bytes()[-1] == "▁word<".encode()


def test_other_vocabularies_are_refused():
    told = {"model": {"vocab": {"a": 0}}, "decoder": {"type": "WordPiece"}}
    with pytest.raises(UserError, match=r"decodes by WordPiece.*byte-level"):
        bytes_of_tokens(told)
    with pytest.raises(UserError, match="decodes by nothing"):
        bytes_of_tokens({"model": {}})

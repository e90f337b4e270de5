"""The bytes that each token of a tokenizer stands for. Built in lesson 25.

A vocabulary is written in characters. GPT-2's kind writes each byte as a character of its own, so
that none is a space or a control; SentencePiece's writes a space as ``▁``, and a byte that belongs
to no token as ``<0x0A>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from decodeloop.errors import UserError

OF_ONE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
SPACE = "\u2581"


def bytes_of_tokens(told: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each token, by id; of special ones and of ids that no token has, none.

    Args:
        told: what `tokenizer.json` says.

    Raises:
        UserError: its vocabulary is written in neither of the two ways.
    """
    vocabulary: Mapping[str, int] = told["model"].get("vocab", {})
    added = {token["id"]: token for token in told.get("added_tokens", ())}
    kinds = kinds_of(told.get("decoder"))
    if not isinstance(vocabulary, Mapping) or not kinds & {"ByteLevel", "ByteFallback"}:
        raise UserError(
            f"the bytes of this tokenizer's tokens are not known (it decodes by "
            f"{', '.join(sorted(kinds)) or 'nothing'}): expected a byte-level BPE, or one with a "
            f"byte fallback; take another model."
        )
    spelled = from_gpt2 if "ByteLevel" in kinds else from_sentencepiece
    found = [b""] * (1 + max([*vocabulary.values(), *added]))
    for token, number in vocabulary.items():
        if number not in added:
            found[number] = spelled(token)
    for number, token in added.items():
        if not token["special"]:
            found[number] = token["content"].encode()
    return found


def kinds_of(decoder: Any) -> set[str]:
    """What a decoder does, its parts included."""
    if not isinstance(decoder, Mapping):
        return set()
    parts = [kinds_of(part) for part in decoder.get("decoders", ())]
    return {str(decoder.get("type"))}.union(*parts)


def from_gpt2(token: str) -> bytes:
    """The bytes of a token of GPT-2's kind.

    >>> from_gpt2("Ġso"), from_gpt2("Ã¤")
    (b' so', b'\\xc3\\xa4')
    """
    return bytes(BYTE_OF[character] for character in token if character in BYTE_OF)


def from_sentencepiece(token: str) -> bytes:
    """The bytes of a token of SentencePiece's kind.

    >>> from_sentencepiece("▁so"), from_sentencepiece("<0x0A>")
    (b' so', b'\\n')
    """
    one = OF_ONE_BYTE.fullmatch(token)
    return bytes([int(one[1], 16)]) if one else token.replace(SPACE, " ").encode()


def characters_of_bytes() -> dict[str, int]:
    """GPT-2's characters: a byte that prints stands for itself, the others for what follows 255."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}


BYTE_OF = characters_of_bytes()

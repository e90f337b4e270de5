"""The tokenizer of a GGUF file, built from its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.errors import ModelFileError, one_line

# How text is cut before byte-pair encoding, by the name that GGUF gives it.
LLAMA3_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = "llama-bpe"
QWEN2_PIECES = LLAMA3_PIECES.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN2 = "qwen2"
CONTROL, USER_DEFINED = 3, 4  # GGUF token types that are matched whole


def cutter(name: str) -> pre_tokenizers.PreTokenizer | None:
    """How text is cut, by the name that GGUF gives it; None for one that is not known."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)

    def pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), plain])

    by_name: dict[str, pre_tokenizers.PreTokenizer] = {
        "default": byte_level,
        "gpt-2": byte_level,
        "smollm": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        ),
        LLAMA3: pieces(LLAMA3_PIECES),
        QWEN2: pieces(QWEN2_PIECES),
    }
    return by_name.get(name)


def tokenizer_from_gguf(fields: Mapping[str, Any], path: Path) -> Tokenizer:
    """Build the tokenizer from a GGUF file's metadata.

    Raises:
        ModelFileError: the metadata is missing, or of a kind that is not supported.
    """
    kind, pieces = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise ModelFileError(
            f"{path} has a tokenizer of kind {kind!r:.80}: expected 'gpt2' (byte-level byte-pair "
            f"encoding); take another model."
        )
    cut = cutter(pieces) if isinstance(pieces, str) else None
    if cut is None:
        raise ModelFileError(
            f"{path} cuts text in a way that is not supported ({pieces!r:.80}): expected one of "
            f"default, gpt-2, smollm, {LLAMA3}, {QWEN2}."
        )
    try:
        tokens: list[str] = fields["tokenizer.ggml.tokens"]
        kinds: list[int] = fields["tokenizer.ggml.token_type"]
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"]]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        # Llama 3's merges don't lead to all of its tokens: a piece that is one is taken as it is
        backend = Backend(models.BPE(vocabulary, merges, ignore_merges=pieces == LLAMA3))
        whole = {
            i: AddedToken(tokens[i], special=k == CONTROL, normalized=False)
            for i, k in enumerate(kinds)
            if k in (CONTROL, USER_DEFINED)
        }
        special = {
            key: tokens[index(fields[f"tokenizer.ggml.{name}"])]
            for key, name in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"))
            if f"tokenizer.ggml.{name}" in fields
        }
        template = fields.get("tokenizer.chat_template")
        if not isinstance(template, str | None):
            raise TypeError("its chat template is no text")
        backend.add_tokens(list(whole.values()))
        backend.pre_tokenizer = cut
        if pieces == QWEN2:
            backend.normalizer = normalizers.NFC()
        backend.decoder = decoders.ByteLevel()
        if fields.get("tokenizer.ggml.add_bos_token", pieces == LLAMA3):
            first = special["bos_token"]
            backend.post_processor = processors.TemplateProcessing(
                single=[first, "$A"], special_tokens=[(first, vocabulary[first])]
            )
    except Exception as error:
        raise ModelFileError(
            f"{path} has a damaged tokenizer ({one_line(error)}): fetch or copy the file again."
        ) from None
    return Tokenizer(backend, template, special)


def index(value: Any) -> int:
    """A token's number: True is none, and -1 would be the last one."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.80} is no token id")
    return value

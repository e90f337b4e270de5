"""Text to tokens and back, and the conversation as the model reads it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from decodeloop.checkpoints.chat_template import render
from decodeloop.checkpoints.files import TOKENIZER_BYTES, is_there, read_json, read_text
from decodeloop.checkpoints.token_bytes import bytes_of_tokens
from decodeloop.errors import ModelFileError, UserError, one_line

CONFIG = "tokenizer_config.json"
OLDER = "special_tokens_map.json"  # where older folders have the special tokens
TEMPLATE = "chat_template.jinja"
SPECIAL = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
MOST_GROWTH = 1000  # characters that a tokenizer may make of one


class Tokenizer:
    """Text cut into tokens by the `tokenizers` library, with the model's chat template."""

    def __init__(
        self,
        backend: Backend,
        chat_template: str | None = None,
        special: Mapping[str, str] | None = None,
    ) -> None:
        backend.no_truncation()  # these two are for training; a text is read as long as it is
        backend.no_padding()
        self._backend = backend
        self.chat_template = chat_template
        self._special = dict(special or {})  # bos_token and the like, which templates may use

    @functools.cached_property
    def vocabulary(self) -> int:
        """How many token ids there are, from 0 to the largest.

        Raises:
            UserError: two tokens have the same: which one it decodes to would be chance.
        """
        ids = Counter(self._backend.get_vocab(with_added_tokens=True).values())
        twice, times = max(ids.items(), key=lambda item: item[1], default=(0, 0))
        if times > 1:
            raise UserError(
                f"{times} tokens of the tokenizer have the id {twice}: copy the model again."
            )
        return max(ids, default=-1) + 1

    def encode(self, text: str, beginning: bool = False) -> list[int]:
        """Token ids of `text`; special tokens written out in it are recognised.

        Args:
            beginning: with what the tokenizer puts before a text, such as a BOS token, since the
                model was trained on texts that begin so. A chat template writes it itself.

        Raises:
            UserError: it is no text, or holds half of a character (a lone surrogate); or the
                tokenizer has no token for a part of it.
        """
        try:
            with explained("encode this text"):
                ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
                if beginning:
                    whole = self._backend.encode(text, add_special_tokens=True)
                    added = list(itertools.takewhile(bool, whole.special_tokens_mask))
                    ids = whole.ids[: len(added)] + ids
                return ids
        except TypeError:
            raise UserError(
                f"{text!r:.60} can't be encoded: expected text of whole characters, as UTF-8 has "
                f"them."
            ) from None

    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str:
        """The text of token ids; half a character comes out as U+FFFD."""
        with explained("decode these tokens"):
            text: str = self._backend.decode(list(token_ids), skip_special_tokens=skip_special)
            return text

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return [self.decode([token_id]) for token_id in token_ids]

    def token_bytes(self) -> list[bytes]:
        """The bytes of each token, by id; of special ones, which have no text, none.

        Raises:
            UserError: as `bytes_of_tokens`.
        """
        return bytes_of_tokens(self.as_dict())

    def token_id(self, token: str) -> int | None:
        return self._backend.token_to_id(token)

    def chat(self, messages: Sequence[Mapping[str, str]], answer: bool = True) -> str:
        """A conversation as the model was trained to read it.

        Args:
            messages: each with ``role`` (system, user or assistant) and ``content``.
            answer: end with the opening of the assistant's turn, so that the model answers.

        Raises:
            UserError: the model has no chat template, or it rejects the messages, or fails.
        """
        if self.chat_template is None:
            raise UserError(
                "this model has no chat template: give it the text as it is (--raw), or take an "
                "instruction-tuned model."
            )
        variables = {
            "messages": [dict(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": answer,
        }
        return render(self.chat_template, variables | self._special)

    def special_id(self, key: str) -> int | None:
        """The number of a special token, such as ``bos_token``, if there is one."""
        return self.token_id(self._special[key]) if key in self._special else None

    def as_dict(self) -> dict[str, Any]:
        """What `tokenizer.json` says."""
        told: dict[str, Any] = json.loads(self._backend.to_str())
        return told

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, as a hub folder has them."""
        self._backend.save(str(folder / "tokenizer.json"))
        config: dict[str, Any] = dict(self._special)
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
        (folder / CONFIG).write_text(json.dumps(config, indent=2), "utf-8")

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, and the template and the special tokens from where they lie.

        Raises:
            ModelFileError: a file is missing or can't be read.
        """
        backend = backend_from(folder / "tokenizer.json")
        config = read_json(folder / CONFIG) if is_there(folder / CONFIG) else {}
        older = read_json(folder / OLDER) if is_there(folder / OLDER) else {}
        try:
            template = default_template(config.get("chat_template"))
            special = special_tokens(older) | special_tokens(config)
        except (AttributeError, KeyError, TypeError):
            raise ModelFileError(
                f"{folder / CONFIG} is no readable tokenizer configuration: copy it again."
            ) from None
        if is_there(folder / TEMPLATE):
            template = read_text(folder / TEMPLATE)
        match_whole(backend, special.values())
        return cls(backend, template, special)


def backend_from(path: Path) -> Backend:
    """A tokenizer out of its file.

    Raises:
        ModelFileError: it is missing, damaged, or would make far too much of a text.
    """
    if not is_there(path):
        raise ModelFileError(f"{path.parent} has no {path.name}: copy the whole model folder.")
    text = read_text(path, TOKENIZER_BYTES)
    try:
        with explained("be read"):
            backend = Backend.from_str(text)
    except UserError as error:
        raise ModelFileError(
            f"{path} is no readable tokenizer ({one_line(error)}): copy it again."
        ) from None
    for part in (backend.normalizer, backend.pre_tokenizer, backend.decoder):
        if part is not None and growth(json.loads(part.__getstate__())) > MOST_GROWTH:
            raise ModelFileError(
                f"{path} would make more than {MOST_GROWTH} characters of one: copy it again, or "
                f"take another model."
            )
    return backend


def match_whole(backend: Backend, special: Iterable[str]) -> None:
    """Let the special tokens of the configuration be tokens wherever they are written out, also
    where `tokenizer.json` doesn't say that they are; as `transformers` does."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    more = [
        token for token in special if token not in known and backend.token_to_id(token) is not None
    ]
    backend.add_special_tokens([AddedToken(token, special=True) for token in more])


def growth(part: Any) -> int:
    """How many characters a part of a tokenizer can make of one, by what it writes in its place.

    >>> growth([{"type": "Replace", "content": "abc"}, {"type": "Prepend", "prepend": "ab"}])
    6
    """
    if isinstance(part, list):
        return math.prod(map(growth, part))
    if not isinstance(part, dict):
        return 1
    written = [part.get("content"), part.get("prepend")]
    longest = max(len(text) if isinstance(text, str) else 1 for text in written)
    return max(1, longest) * math.prod(map(growth, part.values()))


def default_template(found: Any) -> str | None:
    """The template for conversations: of several named ones, the default."""
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}.get("default")
    if not isinstance(found, str | None):
        raise TypeError
    return found


def special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that a configuration names, each a text or an object that holds one."""
    found = {key: config[key] for key in SPECIAL if config.get(key) is not None}
    texts = {k: t["content"] if isinstance(t, dict) else t for k, t in found.items()}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError
    return texts


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever the library raises into a sentence; its panics are no `Exception`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, TypeError):
        raise
    except BaseException as error:
        raise UserError(
            f"the model's tokenizer can't {what} ({one_line(error)}): try another text, or copy "
            f"the model again."
        ) from None

"""Text to tokens and back, and the chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from decodeloop.errors import ModelFileError, UserError, one_line

# How text is cut before byte-pair encoding, by the name that GGUF gives it.
LLAMA3_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL, USER_DEFINED = 3, 4  # GGUF token types that are matched whole


class Tokenizer:
    """Byte-pair encoding by the `tokenizers` library, with the model's chat template."""

    def __init__(
        self,
        backend: Backend,
        chat_template: str | None = None,
        special: Mapping[str, str] | None = None,
    ) -> None:
        self._backend = backend
        self.chat_template = chat_template
        self._special = dict(special or {})  # bos_token and eos_token, which templates may use

    @property
    def vocabulary(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; special tokens written out in it are recognised.

        Raises:
            UserError: it is no text, or holds half of a character (a lone surrogate).
        """
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except TypeError:
            raise UserError(
                f"{text!r:.60} can't be encoded: expected text of whole characters, as UTF-8 has "
                f"them."
            ) from None

    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str:
        """The text of token ids; half a character comes out as U+FFFD."""
        return self._backend.decode(list(token_ids), skip_special_tokens=skip_special)

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return [self.decode([token_id]) for token_id in token_ids]

    def token_id(self, token: str) -> int | None:
        return self._backend.token_to_id(token)

    def chat(self, messages: Sequence[Mapping[str, str]], answer: bool = True) -> str:
        """A conversation as the model was trained to read it.

        Args:
            messages: each with ``role`` (system, user or assistant) and ``content``.
            answer: end with the opening of the assistant's turn, so that the model answers.

        Raises:
            UserError: the model has no chat template, or it rejects the messages.
        """
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if self.chat_template is None:
            raise UserError(
                "this model has no chat template: give it the text as it is (--raw), or take an "
                "instruction-tuned model."
            )

        def reject(message: str) -> None:
            raise jinja2.TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = reject
        try:
            return environment.from_string(self.chat_template).render(
                messages=messages, add_generation_prompt=answer, **self._special
            )
        except jinja2.TemplateError as error:
            raise UserError(
                f"the model's chat template rejects the messages: {one_line(error)}."
            ) from None

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, as a hub folder has them."""
        self._backend.save(str(folder / "tokenizer.json"))
        config: dict[str, Any] = dict(self._special)
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), "utf-8")

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, and the template from where it lies.

        Raises:
            ModelFileError: a file is missing or can't be read.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFileError(f"{folder} has no tokenizer.json: copy the whole model folder.")
        try:
            backend = Backend.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelFileError(
                f"{path} is no readable tokenizer ({one_line(error)}): copy it again."
            ) from None
        config: Any = {}
        config_path = folder / "tokenizer_config.json"
        template_path = folder / "chat_template.jinja"
        try:
            if config_path.is_file():
                config = json.loads(config_path.read_text("utf-8"))
            template = config.get("chat_template")
            if isinstance(template, list):  # several named templates: the default one chats
                template = {t["name"]: t["template"] for t in template}.get("default")
            special = {}
            for key in ("bos_token", "eos_token"):
                token = config.get(key)
                special[key] = token["content"] if isinstance(token, dict) else token or ""
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise ModelFileError(
                f"{config_path} is no readable tokenizer configuration: copy it again."
            ) from None
        try:
            if template_path.is_file():
                template = template_path.read_text("utf-8")
        except ValueError:
            raise ModelFileError(f"{template_path} is no readable text: copy it again.") from None
        return cls(backend, template, special)


def tokenizer_from_gguf(fields: Mapping[str, Any], path: Path) -> Tokenizer:
    """Build the tokenizer from a GGUF file's metadata.

    Raises:
        ModelFileError: the metadata is missing, or of a kind that is not supported.
    """
    kind, pieces = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise ModelFileError(
            f"{path} has a tokenizer of kind {kind!r}: expected 'gpt2' (byte-level byte-pair "
            f"encoding); take another model."
        )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    cutters = {
        "default": byte_level,
        "gpt-2": byte_level,
        "smollm": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        ),
        "llama-bpe": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA3_PIECES), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    }
    if pieces not in cutters:
        raise ModelFileError(
            f"{path} cuts text in a way that is not supported ({pieces!r}): expected one of "
            f"{', '.join(cutters)}."
        )
    try:
        tokens: list[str] = fields["tokenizer.ggml.tokens"]
        kinds: list[int] = fields["tokenizer.ggml.token_type"]
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"]]
        backend = Backend(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
        whole = {
            i: AddedToken(tokens[i], special=k == CONTROL, normalized=False)
            for i, k in enumerate(kinds)
            if k in (CONTROL, USER_DEFINED)
        }
        special = {
            key: tokens[fields[f"tokenizer.ggml.{name}"]]
            for key, name in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"))
            if f"tokenizer.ggml.{name}" in fields
        }
    except Exception as error:
        raise ModelFileError(
            f"{path} has a damaged tokenizer ({one_line(error)}): fetch or copy the file again."
        ) from None
    backend.add_tokens(list(whole.values()))
    backend.pre_tokenizer = cutters[pieces]
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(backend, fields.get("tokenizer.chat_template"), special)

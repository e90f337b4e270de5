"""What an answer must match: the options `--json-schema` and `--regex`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decodeloop.errors import UserError, one_line

if TYPE_CHECKING:
    from decodeloop.decode import Constraint
    from decodeloop.loading import LanguageModel

JsonSchema = Annotated[
    Path | None,
    typer.Option("--json-schema", help="The answer is JSON that this file's schema accepts."),
]
Regex = Annotated[
    str | None, typer.Option("--regex", help="The answer matches this pattern from end to end.")
]


class Asked:
    """What the options ask for, checked before a model is loaded.

    Raises:
        UserError: both are given, or together with what would not obey them; the file can't be
            read, is no JSON, or no schema that can be obeyed; the pattern is none.
    """

    def __init__(self, schema: Path | None, regex: str | None, others: dict[str, bool]) -> None:
        from decodeloop.decode.constrained import parse_pattern, rules_of

        self.schema: Any = None
        self.regex = regex
        self.given = schema is not None or regex is not None
        if schema is not None and regex is not None:
            raise UserError("--json-schema and --regex were both given: leave one out.")
        option = "--json-schema" if schema else "--regex"
        if self.given and (other := next((name for name, was in others.items() if was), None)):
            raise UserError(f"{option} was given together with {other}: leave one out.")
        if schema is not None:
            self.schema = read_schema(schema)
            rules_of(self.schema)
        if regex is not None:
            parse_pattern(regex)

    def constraint(self, llm: LanguageModel) -> Constraint | None:
        """The constraint for a model's tokens, if one was asked for."""
        from decodeloop.decode import Constraint, Vocabulary

        if not self.given:
            return None
        vocabulary = Vocabulary(llm.tokenizer.token_bytes())
        if self.regex is not None:
            return Constraint.from_pattern(self.regex, vocabulary)
        return Constraint.from_schema(self.schema, vocabulary)


def read_schema(path: Path) -> Any:
    """A JSON schema out of its file.

    Raises:
        UserError: it can't be read, or is no JSON; the message names the place.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        why = error.strerror or one_line(error)
        raise UserError(
            f"--json-schema: {path} can't be read ({why}): expected a file with a JSON schema."
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"--json-schema: {path} is no text in UTF-8: expected JSON.") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"--json-schema: {path} is no JSON (line {error.lineno}, column {error.colno}: "
            f"{one_line(error.msg)}): correct it there."
        ) from None
    except RecursionError:
        raise UserError(f"--json-schema: {path} nests too deep: expected a schema.") from None

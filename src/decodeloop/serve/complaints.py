"""What is wrong with a body, in one sentence that names the field."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from decodeloop.errors import one_line
from decodeloop.serve.admission import Refused

# What a field of several types may be: the first complaint would be about one of them alone.
WANTED = {
    "prompt": "expected a text, a list of token ids, or a list of either, none of them empty",
    "stop": "expected a text, or up to four, none of them empty",
    "content": "expected a text, or a list of parts of type text",
    "schema": "expected an object, or true",
}


def bad(message: str, param: str | None = None) -> Refused:
    """A request that asks for what can't be done."""
    return Refused(400, message, param)


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        Refused: it holds none.
    """
    try:
        told = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise bad(
            f"the body is no JSON that can be read ({one_line(error, 80)}): expected one object."
        ) from None
    if not isinstance(told, dict):
        raise bad(f"the body is JSON of type {type(told).__name__}: expected an object.")
    return told


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def bad_request(error: ValidationError) -> Refused:
    """What is wrong with the first field that is, in one sentence."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not is_branch(part))
    name = one_line(where, 80) or "the body"
    match first["type"]:
        case "extra_forbidden":
            message = f"{name} is not supported: leave it out."
        case "missing":
            message = f"{name} is missing: it has to be given."
        case _:
            value = one_line(json.dumps(first["input"], default=str), 60)
            told = first["msg"][:1].lower() + first["msg"][1:]
            wanted = WANTED.get(name.rpartition(".")[2], one_line(told))
            message = f"{name} is {value}: {wanted}."
    return bad(message, name)


def is_branch(part: str | int) -> bool:
    """Whether it names one of the types that a field may have, and no field."""
    if not isinstance(part, str):
        return False
    return part[:4] in ("list", "cons", "dict") or part in ("str", "int", "bool", "[key]")

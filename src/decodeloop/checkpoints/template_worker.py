"""Renders chat templates, one after the other, in a process of its own: `chat_template` runs it.

Each line that it reads is a JSON object with `template` and `variables`; each that it writes one
with `text`, or with `rejected` (the template itself objects) or `failed`. It imports nothing of
this package, so that it starts at once.

Templates see what `transformers` shows them (its utils/chat_template_utils.py), so that one written
for it renders here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 1 << 29  # bytes, where the system can limit them
CPU_SECONDS = 600  # of all templates together: for one that nobody waits for any more
LONGEST = 1 << 22  # characters of a rendered conversation


class Generation(Extension):
    """``{% generation %}`` … ``{% endgeneration %}``: marks, for training, what the model said."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(
            parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
        )


def reject(message: str) -> None:
    raise jinja2.TemplateError(message)


def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # jinja's own escapes HTML


def now(form: str) -> str:
    return datetime.now().strftime(form)


@functools.lru_cache(maxsize=4)
def compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": reject, "strftime_now": now}
    return environment.from_string(template)


def answer(template: str, variables: dict[str, Any]) -> dict[str, str]:
    """What became of a template."""
    try:
        pieces, length = [], 0
        for piece in compiled(template).generate(**variables):
            pieces.append(piece)
            length += len(piece)
            if length > LONGEST:
                return {"failed": f"it makes more than {LONGEST:,} characters"}
        return {"text": "".join(pieces)}
    except jinja2.TemplateError as error:
        return {"rejected": str(error)[:1000]}
    except Exception as error:  # a template may raise whatever Python raises
        return {"failed": f"{type(error).__name__} {error}"[:1000]}


def main() -> None:
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

"""What an answer must be: any JSON object, or what a schema accepts.

A constraint takes up to seconds to make and then serves any number of texts, so the last ones are
kept; one is made at a time, since whoever sends schemas must not stop those who are answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from decodeloop.decode import Constraint, Vocabulary
from decodeloop.errors import UserError
from decodeloop.serve.complaints import bad
from decodeloop.serve.protocol import ResponseFormat

ANY_OBJECT = {"type": "object"}
MOST_KEPT = 16


class Formats:
    """The constraints that a server's clients have asked for.

    Args:
        token_bytes: gives the bytes of each token of the model; called when first needed.
    """

    def __init__(self, token_bytes: Callable[[], Sequence[bytes]]) -> None:
        self._token_bytes = token_bytes
        self._vocabulary: Vocabulary | None = None
        self._lock = threading.Lock()
        self._kept = lru_cache(MOST_KEPT)(self._made)

    def constraint(self, asked: ResponseFormat | None) -> Constraint | None:
        """What a request's answers must match; None where it asks for nothing.

        Raises:
            Refused: the schema can't be obeyed; the message names the place.
        """
        if asked is None or asked.type == "text":
            return None
        schema = ANY_OBJECT if asked.json_schema is None else asked.json_schema.schema_
        try:
            with self._lock:
                return self._kept(json.dumps(schema))
        except UserError as error:
            raise bad(f"response_format: {error}", "response_format") from None
        except RecursionError:
            raise bad("response_format nests too deep: expected a schema.") from None

    def _made(self, schema: str) -> Constraint:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._token_bytes())
        told: Any = json.loads(schema)
        return Constraint.from_schema(told, self._vocabulary)

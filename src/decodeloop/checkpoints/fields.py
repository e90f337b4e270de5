"""The fields of a `config.json`, and a sentence for each that is not as it must be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decodeloop.errors import ModelFileError, UserError


@dataclass(frozen=True)
class Fields:
    """The fields of a `config.json`, each checked when it is asked for."""

    raw: dict[str, Any]
    path: Path  # for the messages
    within: str = ""  # the object in the file that holds them, with a dot

    def number(self, key: str, default: float | None = None) -> int | float:
        """A finite number.

        Raises:
            ModelFileError: it is missing and has no default, or is no number.
        """
        value = self.raw.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise ModelFileError(
                f"{self.path} has {self.within}{key} = {value!r:.80}: expected a number."
            )
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number; errors as for `number`."""
        value = self.number(key, default)
        if not isinstance(value, int):
            raise ModelFileError(
                f"{self.path} has {self.within}{key} = {value!r}: expected a whole number."
            )
        return value

    def truth(self, key: str, default: bool = False) -> bool:
        """True or false; errors as for `number`."""
        value = self.raw.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ModelFileError(
                f"{self.path} has {self.within}{key} = {value!r:.80}: expected true or false."
            )
        return value

    def refuse(self, unsupported: Mapping[str, bool], shown: Any = None) -> None:
        """Raise a `ModelFileError` for the first key whose value is one that is not supported."""
        for key, found in unsupported.items():
            if found:
                raise ModelFileError(
                    f"{self.path} asks for {self.within}{key} = {self.raw.get(key, shown)!r:.200}, "
                    f"which is not supported: take another model."
                )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with the numbers that it holds."""
    try:
        yield
    except ModelFileError:
        raise
    except UserError as error:
        raise ModelFileError(f"{path}: {error}") from None

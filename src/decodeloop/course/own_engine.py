"""An engine out of the learner's parts: whom it reads next, and where each cache lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from decodeloop import serve
from decodeloop.decode.loop import Model
from decodeloop.exercises.exercise import Candidate

Choose = Callable[[str, Candidate], Candidate]


@dataclass(frozen=True)
class EngineParts:
    """The functions that an engine decides with, the learner's or the library's."""

    scheduler: serve.SchedulerParts
    blocks: serve.BlockParts
    attend_paged: Candidate

    def by_name(self) -> dict[str, Candidate]:
        return {
            **vars(self.scheduler),
            **vars(self.blocks),
            "attend_paged": self.attend_paged,
        }

    def engine(self, model: Model, **limits: Any) -> serve.Engine:
        """An engine that runs this model; limits as those of `decodeloop.serve.Engine`."""
        return serve.Engine(
            model,
            parts=self.scheduler,
            block_parts=self.blocks,
            attend_paged=self.attend_paged,
            **limits,
        )


def engine_parts(choose: Choose) -> EngineParts:
    """Each part by `choose(its name, the library's)`."""

    def chosen(kind: type) -> dict[str, Candidate]:
        return {f.name: choose(f.name, getattr(serve, f.name)) for f in fields(kind)}

    return EngineParts(
        serve.SchedulerParts(**chosen(serve.SchedulerParts)),
        serve.BlockParts(**chosen(serve.BlockParts)),
        choose("attend_paged", serve.attend_paged),
    )


__all__ = ["EngineParts", "engine_parts"]

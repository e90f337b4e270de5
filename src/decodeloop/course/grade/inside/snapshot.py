"""What is in the things of a message that can be written into, to know later what was changed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from decodeloop.course.grade.inside.values import Reader, Writer


class Snapshot:
    """The contents of some lists, dicts, sets, tensors, arrays and generators, as they are."""

    def __init__(self, mutables: Sequence[Any]) -> None:
        self.mutables = list(mutables)
        self.before = [contents(x) for x in self.mutables]

    def changed(self, writer: Writer) -> list[list[Any]]:
        """The place and the new contents of each that has changed since, and look again."""
        told = []
        for place, (x, before) in enumerate(zip(self.mutables, self.before, strict=True)):
            if not same_contents(x, before):
                told.append([place, inner(x, writer)])
                self.before[place] = contents(x)
        return told


def contents(x: Any) -> Any:
    if isinstance(x, list | set | dict):
        return x.copy()
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(x, torch.Tensor):
        return x.detach().clone()
    if torch is not None and isinstance(x, torch.Generator):
        return x.get_state()
    if numpy is not None and isinstance(x, numpy.ndarray):
        return x.copy()
    return None  # a module: its tensors are among the others


def same_contents(x: Any, before: Any) -> bool:
    if isinstance(x, list):
        return len(x) == len(before) and all(a is b for a, b in zip(x, before, strict=True))
    if isinstance(x, dict):
        pairs = zip(x.items(), before.items(), strict=False)
        return len(x) == len(before) and all(k is j and v is w for (k, v), (j, w) in pairs)
    if isinstance(x, set):
        return x == before
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(x, torch.Generator):
        return torch.equal(x.get_state(), before)
    if torch is not None and isinstance(x, torch.Tensor):
        alike = x.shape == before.shape and x.dtype == before.dtype
        return alike and same_bits(torch, x.detach(), before)
    if numpy is not None and isinstance(x, numpy.ndarray):
        return x.shape == before.shape and x.tobytes() == before.tobytes()
    return True


def same_bits(torch: Any, a: Any, b: Any) -> bool:
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def inner(x: Any, writer: Writer) -> Any:
    """The contents as a message has them; what is inside may be one of the others."""
    if isinstance(x, list | set):
        return {"list": [writer.write(y) for y in x]}
    if isinstance(x, dict):
        return {"list": [{"tuple": [writer.write(k), writer.write(v)]} for k, v in x.items()]}
    if hasattr(x, "get_state"):
        return {"tensor": writer.store(x.get_state()), "grad": False}
    if hasattr(x, "tobytes"):
        import torch

        return {"tensor": writer.store(torch.from_numpy(x.copy())), "grad": False}
    return {"tensor": writer.store(x), "grad": False}


def put(x: Any, new: Any) -> None:
    """Give an original the contents that its copy has now."""
    if isinstance(x, list):
        x[:] = new
    elif isinstance(x, set | dict):
        x.clear()
        x.update(new)
    elif hasattr(x, "set_state"):
        x.set_state(new)
    elif hasattr(x, "tobytes"):
        x[...] = new.numpy()
    else:
        x.data = new


def put_all(changes: Any, mutables: Sequence[Any], reader: Reader) -> None:
    """Carry out what `Snapshot.changed` has told."""
    for place, new in changes:
        put(mutables[place], reader.read(new))


__all__ = ["Snapshot", "put_all"]

"""What a case lends to an answer: copies, so that nothing that an answer writes outlives it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Candidate = Callable[..., Any]  # a function, or a class


class ChangedInput(Exception):
    """The candidate wrote into something that it was only lent."""


def lend(candidate: Candidate, *inputs: Any, **options: Any) -> Any:
    """Call the candidate with copies, and give its result; of a generator, one that looks on.

    What a case itself looks at afterwards, such as a model that counts its calls, is not lent but
    held: ``lend(lambda ids: candidate(model, ids), ids)``.

    Raises:
        ChangedInput: it wrote into a tensor, an array, a list, a dict, a set or a model's weights.
    """
    names = [f"its argument number {position}" for position, _ in enumerate(inputs, start=1)]
    names += [f"its argument `{name}`" for name in options]
    positional = len(inputs)

    def call(*given: Any) -> Any:
        return candidate(*given[:positional], **dict(zip(options, given[positional:], strict=True)))

    return lend_by_name(names, call, *inputs, *options.values())


def lend_by_name(names: Sequence[str], call: Candidate, *inputs: Any) -> Any:
    """The same; `names` say what each of the inputs is."""
    given = copies(inputs)

    def come_back() -> None:
        for name, before, after in zip(names, inputs, given, strict=True):
            demand_unchanged(name, before, after)

    result = call(*given)
    if isinstance(result, GeneratorType):
        return watched(result, come_back)
    come_back()
    return result


def watched(
    generator: Generator[Any, None, Any], come_back: Callable[[], None]
) -> Generator[Any, None, Any]:
    """The same items and the same result; after each, what was lent is looked at."""
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            come_back()
            return end.value
        come_back()
        yield item


def demand_unchanged(name: str, before: Any, after: Any) -> None:
    """Raise `ChangedInput` where something that was lent did not come back as it was."""
    if unchanged(before, after):
        return
    if isinstance(before, nn.Module):
        raise ChangedInput(
            f"it changed the weights of {name}: leave the model as it is, since the caller goes on "
            f"with it"
        )
    kind = "a new tensor" if isinstance(before, Tensor) else "a copy"
    raise ChangedInput(
        f"it changed {name} in place: work on {kind}, since the caller goes on with the old one"
    )


def copies(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(copied(x) for x in inputs)


def copied(x: Any) -> Any:
    """A copy that shares nothing with the original which can be written into.

    Functions and classes stand for themselves, and so does what can't be copied.
    """
    if isinstance(x, Tensor):
        return x.clone() if has_memory(x) else x
    if isinstance(x, np.ndarray):
        return x.copy()
    if isinstance(x, torch.Generator):
        return x.clone_state()
    if type(x) in (list, set, tuple):
        return type(x)(copied(item) for item in x)
    if type(x) is dict:
        return {key: copied(value) for key, value in x.items()}
    try:
        return copy.deepcopy(x)
    except Exception:  # each kind of object refuses in its own way
        return x


def unchanged(before: Any, after: Any) -> bool:
    """Whether what was lent came back as it was: tensors, arrays, containers, models' weights."""
    if isinstance(before, nn.Module):
        weights = dict(after.named_parameters())
        return all(
            name in weights and unchanged(parameter, weights[name])
            for name, parameter in before.named_parameters()
        )
    if isinstance(before, Tensor):
        try:
            return same_tensor(before, after)
        except Exception:  # it was turned into a tensor that can't even be looked at
            return False
    if isinstance(before, np.ndarray):
        floats = before.dtype.kind in "fc"
        return bool(np.array_equal(before, after, equal_nan=floats)) and before.dtype == after.dtype
    if isinstance(before, list | tuple):
        return (
            type(after) is type(before)
            and len(after) == len(before)
            and all(unchanged(b, a) for b, a in zip(before, after, strict=True))
        )
    if isinstance(before, dict):
        return list(before) == list(after) and all(unchanged(before[k], after[k]) for k in before)
    if isinstance(before, set | str | int):
        return type(after) is type(before) and bool(before == after)
    if isinstance(before, float):
        return type(after) is float and repr(after) == repr(before)  # NaN is NaN
    return True  # its own business: a cache, a model that counts, a function


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Value for value, NaN being NaN."""
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    if not has_memory(b):
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def has_memory(tensor: Tensor) -> bool:
    """Whether the memory of a tensor is still there: reading one that gave it back may end it all.

    Of kinds that keep their numbers elsewhere it is taken for granted.
    """
    if type(tensor) is not Tensor or tensor.layout is not torch.strided or not tensor.numel():
        return True
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    end = (tensor.storage_offset() + last + 1) * tensor.itemsize
    return end <= tensor.untyped_storage().nbytes()

"""Stand-ins for what the other side has lent: each use of one asks the original."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import cache
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType
from typing import Any

NUMBER = "lent_number"
ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift", "divmod"),
)
USES = (
    *("call", "len", "getitem", "setitem", "delitem", "contains", "iter", "next", "enter", "exit"),
    *("bool", "float", "int", "index", "neg", "pos", "abs", "invert"),
    *("lt", "le", "gt", "ge", "eq", "ne"),
)
SPECIAL = frozenset(
    f"__{name}__"
    for name in (*USES, *ARITHMETIC, *(f"r{x}" for x in ARITHMETIC), *(f"i{x}" for x in ARITHMETIC))
) - {"__idivmod__"}
PLAIN = {name: getattr(object, name) for name in SPECIAL if hasattr(object, name)}
Ask = Callable[..., Any]  # what is done, with which number, and how


def described(x: Any) -> dict[str, Any]:
    """What the other side has to know of a thing to make a stand-in."""
    if isinstance(x, GeneratorType):
        return {"kind": "generator", "name": x.__name__}
    if isinstance(x, type):
        return {"kind": "class", "name": x.__name__}
    if isinstance(x, FunctionType | MethodType | BuiltinFunctionType):
        names = shown_parameters(x)
        return {"kind": "function", "name": str(getattr(x, "__name__", "f")), "takes": names}
    kind = type(x)
    specials = [s for s in sorted(SPECIAL) if getattr(kind, s, None) not in (None, PLAIN.get(s))]
    return {"kind": "object", "name": kind.__name__, "specials": specials}


def shown_parameters(x: Any) -> list[list[Any]]:
    """Names and kinds of the parameters; none where nobody knows."""
    try:
        parameters = inspect.signature(x).parameters.values()
    except (TypeError, ValueError):
        return []
    return [[p.name, int(p.kind), p.default is not p.empty] for p in parameters]


def stand_in(number: int, what: dict[str, Any], ask: Ask) -> Any:
    """What takes the place of a thing that was lent under this number."""
    name = str(what.get("name"))[:100]
    match what.get("kind"):
        case "generator":
            return generator(number, ask)
        case "class":
            return a_class(number, name, ask)
        case "function":
            return function(number, name, ask, what.get("takes"))
        case _:
            specials = tuple(s for s in what.get("specials", ()) if s in SPECIAL)
            made: Any = object.__new__(class_with(name, specials))
            object.__setattr__(made, NUMBER, number)
            object.__setattr__(made, "lent_ask", ask)
            return made


def generator(number: int, ask: Ask) -> Generator[Any, Any, Any]:
    def items() -> Generator[Any, Any, Any]:
        while True:
            try:
                item = ask("special", number, name="__next__")
            except StopIteration as end:
                return end.value
            yield item

    return items()


def function(number: int, name: str, ask: Ask, takes: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return ask("call", number, args=args, kwargs=kwargs)

    call.__name__ = call.__qualname__ = name
    setattr(call, NUMBER, number)
    try:
        kinds = list(inspect._ParameterKind)
        default = inspect.Parameter.empty
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(n, kinds[k], default=None if d else default) for n, k, d in takes]
        )
    except (TypeError, ValueError, IndexError):
        pass
    return call


def a_class(number: int, name: str, ask: Ask) -> Any:
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return ask("call", number, args=args, kwargs=kwargs)

    return type(name, (), {"__new__": new, NUMBER: number})


class Lent:
    """An object of the other side's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and others look for by themselves
            raise AttributeError(name)
        return self.lent_ask("get", vars(self)[NUMBER], name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.lent_ask("set", vars(self)[NUMBER], name=name, args=(value,))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        import operator

        operators = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv"}
        if method == "__call__" and ufunc.__name__ in operators and len(inputs) == 2:
            name, (a, b) = operators[ufunc.__name__], inputs
            if isinstance(a, Lent):
                return getattr(operator, name)(a, b)
            return getattr(type(b), f"__r{name}__")(b, a)
        numbers = [float(x) if isinstance(x, Lent) else x for x in inputs]
        return getattr(ufunc, method)(*numbers)


@cache
def class_with(name: str, specials: tuple[str, ...]) -> type:
    """A class of stand-ins that have these special methods, and no others."""

    def forward(special: str) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            number = vars(self)[NUMBER]
            return self.lent_ask("special", number, name=special, args=args, kwargs=kwargs)

        return method

    members: dict[str, Any] = {special: forward(special) for special in specials}
    if "__eq__" in members:
        members["__hash__"] = object.__hash__
    return type(name, (Lent,), members)


def number_of(x: Any) -> int | None:
    """The number under which the other side has lent this; None if it is no stand-in."""
    if isinstance(x, Lent):
        return vars(x)[NUMBER]
    if isinstance(x, FunctionType | type):
        found = vars(x).get(NUMBER)
        return found if type(found) is int else None
    return None


__all__ = ["SPECIAL", "described", "number_of", "stand_in"]

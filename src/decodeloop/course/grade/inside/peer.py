"""Two processes that call each other's functions, over one pipe, one after another.

While one waits for an answer it answers the other's questions. What a side lends it keeps under a
number; the other asks for its attributes, calls it, and never gets the thing itself. `Peer.allows`
says what may be asked: inside of the sandbox everything, outside of it little.
"""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import Any

from decodeloop.course.grade.inside.exceptions import (
    Raised,
    known_error,
    names_of_bases,
    text_of,
)
from decodeloop.course.grade.inside.pipe import Broken, Message, Pipe
from decodeloop.course.grade.inside.snapshot import Snapshot, put_all
from decodeloop.course.grade.inside.stand_ins import described, number_of, stand_in
from decodeloop.course.grade.inside.values import (
    Reader,
    Unreadable,
    Writer,
    found,
)

LONGEST_MESSAGE = 300


class Refused(Exception):
    """Something that this side does not do for the other."""


class Peer:
    """One end of the pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.lent: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}  # by the identity of what was lent
        self.stand_ins: dict[int, Any] = {}  # of what was borrowed: the same thing is the same
        self.errors: list[BaseException] = []  # that were told, to be known again
        self.kept: dict[int, tuple[Snapshot, list[Any]]] = {}  # of a generator: what it was given
        self.handlers: dict[str, Callable[..., Any]] = {}  # of further questions, by their names

    def find(self, name: str) -> Any:
        """The class or function of this name."""
        return found(name)

    def allows(self, what: str, thing: Any, name: str) -> bool:
        """Whether the other side may do this with what was lent to it."""
        return True

    def describe_error(self, error: BaseException) -> Message:
        """What else the other side is told of an exception."""
        return {}

    # --- asking ---

    def ask(
        self,
        what: str,
        number: int = -1,
        name: str = "",
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Have the other side do something; its result, or its exception raised here."""
        self.room()
        writer = Writer(self.lend)
        asked = {"args": [writer.write(x) for x in args]}
        asked["named"] = [[k, writer.write(v)] for k, v in (kwargs or {}).items()]
        message = {"do": what, "on": number, "name": name, **asked}
        self.pipe.send(message, writer.tensors)
        reply, tensors = self.until_reply()
        return self.taken(reply, tensors, writer.mutables)

    def room(self, calls: int = 100) -> None:
        """Raise RecursionError here, if what follows would raise it in the middle of a message."""
        if calls:
            self.room(calls - 1)

    def until_reply(self) -> tuple[Message, dict[str, Any]]:
        while True:
            message, tensors = self.pipe.receive()
            if "do" not in message:
                return message, tensors
            self.answer(message, tensors)

    def taken(self, reply: Message, tensors: dict[str, Any], given: list[Any]) -> Any:
        """The result in a reply, after what it says of things that were given."""
        made: dict[str, Any] = {}

        def borrow(what: dict[str, Any]) -> Any:
            thing = self.borrow(what)
            if isinstance(thing, GeneratorType):
                made["generator"] = what["lent"]
            return thing

        lent = self.kept_for(reply, given)
        reader = Reader(tensors, borrow, self.find, lent)
        try:  # in the order in which they were written
            value = reader.read(reply["value"]) if "value" in reply else None
            put_all(reply.get("changed", ()), lent, reader)
        except Unreadable:
            raise
        except Exception as error:
            raise self.pipe.broke("junk", f"{type(error).__name__} in a reply") from None
        if "error" in reply:
            raise self.exception(reply["error"])
        if "generator" in made and isinstance(made["generator"], int):
            self.kept[-made["generator"] - 1] = (Snapshot(()), given)
        return value

    def kept_for(self, reply: Message, given: list[Any]) -> list[Any]:
        """What was given to the generator whose next item this is; else to the call itself."""
        number = reply.get("of")
        key = -number - 1 if isinstance(number, int) else None
        return self.kept[key][1] if key in self.kept else given

    def borrow(self, what: dict[str, Any]) -> Any:
        if "yours" in what:
            return self.lent[what["yours"]]
        number = what["lent"]
        if type(number) is not int:
            raise self.pipe.broke("junk", "a number that is none")
        if number not in self.stand_ins:
            self.stand_ins[number] = stand_in(number, what, self.ask)
        return self.stand_ins[number]

    def exception(self, told: Any) -> BaseException:
        """The exception that the other side speaks of; one of ours comes back as it was."""
        if not isinstance(told, dict):
            raise self.pipe.broke("junk", "an error that is none")
        number = told.get("yours")
        if type(number) is int and 0 <= number < len(self.errors):
            return self.errors[number]
        message = str(told.get("message"))[:LONGEST_MESSAGE]
        error = known_error(told.get("bases"))(message)
        if isinstance(error, StopIteration):
            error = StopIteration(told.get("result"))
        error.told = told
        return error

    # --- answering ---

    def lend(self, x: Any) -> dict[str, Any]:
        """A number in the place of a thing; if it was borrowed, that of its owner."""
        theirs = number_of(x)
        if theirs is not None:
            return {"yours": theirs}
        if id(x) not in self.numbers:
            number = len(self.lent)
            self.numbers[id(x)] = number
            self.lent[number] = x  # kept, so that no other gets its id
        return {"lent": self.numbers[id(x)], **described(x)}

    def answer(self, message: Message, tensors: dict[str, Any]) -> None:
        """Do what the other side asks for, and reply."""
        reader = Reader(tensors, self.borrow, self.find)
        writer = Writer(self.lend)
        snapshot, reply = Snapshot(()), Message()
        try:
            args = [reader.read(x) for x in message.get("args", ())]
            kwargs = {str(k): reader.read(v) for k, v in message.get("named", ())}
            snapshot = Snapshot(reader.mutables)
            value = self.done(message, args, kwargs)
            if isinstance(value, GeneratorType):
                self.lend(value)
                self.kept[self.numbers[id(value)]] = (snapshot, snapshot.mutables)
            snapshot = self.looked_at(message, snapshot)
            writer = Writer(self.lend, snapshot.mutables)
            reply["value"] = writer.write(value)
        except Broken:
            raise
        except BaseException as error:  # the end of a generator is one
            snapshot = self.looked_at(message, snapshot)
            writer = Writer(self.lend, snapshot.mutables)
            reply = {"error": self.told(error)}
        reply["changed"] = snapshot.changed(writer)
        number = message.get("on")
        if type(number) is int and number in self.kept and message.get("name") == "__next__":
            reply["of"] = number
        self.pipe.send(reply, writer.tensors)

    def looked_at(self, message: Message, snapshot: Snapshot) -> Snapshot:
        """Of what may have changed: what this call was given; for an item of a generator, what the
        call that made it was given."""
        number = message.get("on")
        if message.get("name") == "__next__" and number in self.kept:
            return self.kept[number][0]
        return snapshot

    def done(self, message: Message, args: list[Any], kwargs: dict[str, Any]) -> Any:
        what, name = message.get("do"), str(message.get("name"))
        if what in self.handlers:
            return self.handlers[what](*args)
        thing = self.lent.get(message.get("on"), self)  # type: ignore[arg-type]
        if thing is self or not self.allows(str(what), thing, name):
            raise Refused(f"{what} {name} is not for an answer to do here")
        match what:
            case "call":
                return thing(*args, **kwargs)
            case "get":
                return getattr(thing, name)
            case "set":
                return setattr(thing, name, args[0])
            case "special":
                method = getattr(type(thing), name)
                return method(thing, *args, **kwargs)
        raise Refused(f"there is no {what}")

    def told(self, error: BaseException) -> Message:
        """An exception in words."""
        told: Message = {
            "bases": names_of_bases(error),
            "type": type(error).__name__,
            "message": text_of(error)[:LONGEST_MESSAGE],
            **self.describe_error(error),
        }
        if isinstance(error, StopIteration) and type(error.value) in (str, int, type(None)):
            told["result"] = error.value
        known = getattr(error, "told", None)
        if isinstance(known, dict) and type(known.get("mine")) is int:
            told["yours"] = known["mine"]
        told["mine"] = len(self.errors)
        self.errors.append(error)
        return told


__all__ = ["Peer", "Raised", "Refused"]

r"""Regular expressions, parsed: characters, classes, groups, choices and repetitions.

What makes a language that an automaton can recognise is here, in the spelling of JavaScript, which
JSON Schema asks for: ``\d`` and ``\w`` are ASCII, ``.`` is no line break. Back-references, word
boundaries and look-around are refused by name. Whether a repetition is lazy makes no difference to
which texts match. Built in lesson 25.
"""

from __future__ import annotations

import re

from decodeloop.decode.constrained.classes import CLASSES, CONTROLS, LINE_BREAKS
from decodeloop.decode.constrained.reader import Reader
from decodeloop.decode.constrained.syntax import (
    ANY,
    EMPTY,
    SURROGATES,
    Chars,
    Either,
    Node,
    Repeat,
    Then,
    all_but,
    chars,
)

COUNTS = re.compile(r"\{(\d+)(,(\d*))?\}")
MOST_NESTED = 100  # groups


def parse_pattern(pattern: str, whole: bool = True) -> Node:
    r"""The tree of a regular expression.

    Args:
        whole: whether a text must match from end to end, as for ``re.fullmatch``; else a match
            somewhere in it is enough, as for ``re.search``, where ``^`` and ``$`` do not say more.

    Raises:
        UserError: it is no regular expression, or one that no automaton can recognise; the message
            names the place.

    >>> parse_pattern("a|b")
    Either(options=(Chars(ranges=((97, 97),)), Chars(ranges=((98, 98),))))
    """
    return Parser(pattern, whole).parse()


class Parser(Reader):
    """A parser by recursive descent: a method for each level of binding."""

    def __init__(self, pattern: str, whole: bool) -> None:
        super().__init__(pattern)
        self.whole = whole
        self.depth = 0  # groups that are open

    def parse(self) -> Node:
        options = [self.alternative()]
        while self.take("|"):
            options.append(self.alternative())
        if self.at < len(self.pattern):
            self.refuse("this group was never opened: write \\) for the character")
        return one_of(options)

    def alternative(self) -> Node:
        """At the top, where anchors may stand at both ends."""
        begins, sequence = self.take("^"), self.sequence()
        ends = self.take("$")
        if self.whole:
            return sequence
        anything = Repeat(ANY, 0, None)
        return Then((EMPTY if begins else anything, sequence, EMPTY if ends else anything))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while (character := self.peek()) and character not in "|)":
            if character == "$" and self.depth == 0 and self.peek(1) in ("", "|"):
                break  # an anchor of the whole
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else Then(tuple(parts))

    def repeated(self) -> Node:
        part = self.atom()
        start = self.at
        if self.take("*"):
            least, most = 0, None
        elif self.take("+"):
            least, most = 1, None
        elif self.take("?"):
            least, most = 0, 1
        elif counts := COUNTS.match(self.pattern, self.at):
            self.at = counts.end()
            least = int(counts[1])
            most = int(counts[3]) if counts[3] else None if counts[2] else least
            if most is not None and most < least:
                self.refuse("expected the smaller number first", start)
        else:
            return part
        self.take("?")  # lazy: the same texts
        if self.peek() in ("*", "+", "?") or COUNTS.match(self.pattern, self.at):
            self.refuse("a repetition of a repetition: put a group (?:…) around the first")
        return Repeat(part, least, most)

    def atom(self) -> Node:
        character = self.peek()
        if self.take("("):
            return self.group()
        if self.take("["):
            return self.character_class()
        if self.take("."):
            return all_but(LINE_BREAKS)
        if self.take("\\"):
            return self.escape()
        if character in ("*", "+", "?", "{"):
            self.refuse(f"there is nothing to repeat: write \\{character} for the character")
        if character in ("^", "$"):
            self.refuse(f"anchors stand at the ends only: write \\{character} for the character")
        return self.single(self.next())

    def group(self) -> Node:
        start = self.at - 1
        if self.take("?") and not self.take(":"):
            name = re.compile(r"P?<\w+>").match(self.pattern, self.at)
            if name is None:
                what = "look-around and flags are no part of a regular language: leave them out"
                self.refuse(what, start)
            self.at = name.end()
        self.depth += 1
        if self.depth > MOST_NESTED:
            self.refuse(f"more than {MOST_NESTED} groups in one another: expected fewer", start)
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        if not self.take(")"):
            self.refuse("this group is never closed: expected a ')'", start)
        self.depth -= 1
        return one_of(options)

    def character_class(self) -> Node:
        start = self.at - 1
        negated, ranges = self.take("^"), list[tuple[int, int]]()
        while not self.take("]"):
            if not self.peek():
                self.refuse("this class is never closed: expected a ']'", start)
            here = self.at
            first = self.member()
            if self.peek() == "-" and self.peek(1) not in ("", "]"):
                self.at += 1
                ranges.append(self.span(first, self.member(), here))
            else:
                ranges += first.ranges
        if not ranges:
            self.refuse("an empty class, which no character is in: list some", start)
        return all_but(ranges) if negated else chars(*ranges)

    def span(self, first: Chars, last: Chars, here: int) -> tuple[int, int]:
        (low, single), (high, last_single) = first.ranges[0], last.ranges[-1]
        if low != single or high != last_single or len(first.ranges) + len(last.ranges) > 2:
            self.refuse("expected a single character at each end of a range", here)
        if high < low:
            self.refuse("this range runs backwards: expected the smaller character first", here)
        return low, high

    def member(self) -> Chars:
        return self.escape(inside=True) if self.take("\\") else self.single(self.next())

    def escape(self, inside: bool = False) -> Chars:
        """What stands behind a backslash."""
        here, letter = self.at - 1, self.next()
        if letter in CLASSES:
            return CLASSES[letter]
        if letter in CONTROLS:
            return self.code(CONTROLS[letter], here)
        if letter in ("x", "u"):
            width = 2 if letter == "x" else 4
            digits = self.pattern[self.at : self.at + width]
            if not re.fullmatch(f"[0-9a-fA-F]{{{width}}}", digits):
                self.refuse("expected two hexadecimal digits after \\x, four after \\u", here)
            self.at += len(digits)
            return self.code(int(digits, 16), here)
        if letter == "b" and inside:
            return self.code(8, here)
        if letter in ("b", "B"):
            self.refuse("word boundaries are not supported: say what stands on both sides", here)
        if letter.isdigit() or letter == "k":
            self.refuse("a back-reference is no part of a regular language: leave it out", here)
        if letter == "" or letter.isalnum():
            self.refuse("this escape is not known: leave out the backslash", here)
        return self.single(letter)

    def code(self, number: int, here: int) -> Chars:
        if SURROGATES[0] <= number <= SURROGATES[1]:
            self.refuse("half of a character: write the character itself", here)
        return chars((number, number))

    def single(self, character: str) -> Chars:
        return self.code(ord(character), self.at - 1)


def one_of(options: list[Node]) -> Node:
    return options[0] if len(options) == 1 else Either(tuple(options))

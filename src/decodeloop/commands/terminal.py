"""A terminal: lines that are edited, asides that are not the model's, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def line_editor() -> Callable[[str], str]:
    """What reads a message in a terminal, of several lines if need be; it begins with a default."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        "> ",
        multiline=True,
        key_bindings=keys,
        history=InMemoryHistory(),
        prompt_continuation="  ",
    )
    return lambda default: session.prompt(default=default)


def aside(text: str) -> None:
    """Say something that is not the model's."""
    from prompt_toolkit import print_formatted_text
    from prompt_toolkit.formatted_text import FormattedText

    print_formatted_text(FormattedText([("ansibrightblack", text)]))


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Inside, Ctrl-C does nothing but where `hearing_ctrl_c` lets it: a burst of it meets code that
    is not prepared for it. (The line editor hears it as a key.)"""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """Inside, the first Ctrl-C is a KeyboardInterrupt, and further ones are nothing."""

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)

"""`decodeloop chat`: a conversation in the terminal, or line by line through a pipe."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decodeloop.commands.shared import (
    MODEL,
    ApiKey,
    CacheDtype,
    Compiled,
    Device,
    Dtype,
    MinP,
    Model,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    check_at_least,
    interruptible,
    load_as_asked,
    note,
    seeded_generator,
    shown,
)
from decodeloop.commands.terminal import (
    aside,
    deaf_to_ctrl_c,
    hearing_ctrl_c,
    line_editor,
)
from decodeloop.errors import UserError, one_line, printable

if TYPE_CHECKING:
    from decodeloop.decode import Conversation, Sampling
    from decodeloop.decode.conversation import Turn
    from decodeloop.serve.remote import RemoteConversation, RemoteTurn

MOST_BYTES = 100_000_000  # of a conversation that is resumed

HELP = """\
/reset        forget all that was said; what the system was told stays
/undo         take back the last question and its answer
/save FILE    write the conversation: .json to go on with later (--resume), else as text
/help         this list
/quit         end; Ctrl-D too

Enter sends. Alt-Enter, or a backslash at the end of a line, begins a new line.
Ctrl-C ends an answer, and what was said by then stays.
A model as small as smollm2-135m may not use what you told it, though it has read it.
A message that begins with / is written with two: //like this."""


def chat(
    system: Annotated[
        str | None,
        typer.Option(
            help="What the model is told before all else, also in the place of a resumed one's."
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens an answer.")] = 512,
    context: Annotated[
        int | None, typer.Option(help="Tokens that a conversation may take; the model's own.")
    ] = None,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    seed: Seed = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a conversation that /save wrote (.json).")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Talk with a server of OpenAI's protocol; --model is its name there."),
    ] = None,
    api_key: ApiKey = None,
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = "fp32",
    cache_dtype: CacheDtype = None,
    compiled: Compiled = None,
) -> None:
    """Talk with the model; each turn reads only what is new.

    In a pipe each line of the input is a message; what can't be answered ends it.
    """
    check_at_least(1, max_new_tokens=max_new_tokens, context=context)
    talks = bool(sys.stdin and sys.stdin.isatty() and sys.stdout.isatty())
    if talks:
        print("loading …", end="\r", flush=True)
    with interruptible():
        from decodeloop.decode import Conversation, Sampling

        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        messages = read_messages(resume) if resume is not None else []
        conversation: Conversation | RemoteConversation
        if url is None:
            llm = load_as_asked(model, device, dtype, compiled, cache_dtype)
            who = f"{printable(llm.name)} on {llm.device}"
            conversation = Conversation(
                llm,
                system,
                messages,
                max_new_tokens=max_new_tokens,
                context=context,
                sampling=sampling,
                generator=seeded_generator(seed),
            )
        else:
            here = {"--context": context, "--device": device, "--cache-dtype": cache_dtype}
            here |= {"--compiled": compiled, "--dtype": None if dtype == "fp32" else dtype}
            if given := [name for name, value in here.items() if value is not None]:
                raise UserError(f"{given[0]} is the server's affair: leave it out with --url.")
            options = {**request_fields(sampling), "max_tokens": max_new_tokens, "seed": seed}
            conversation = conversation_with(url, api_key, model, system, messages, options)
            who = f"{printable(conversation.model)} at {printable(url)}"
    if resume is not None:
        note(f"{len(messages)} messages of {resume} are taken up")
    if talks:
        print(f"{who}.", end=" ")
        print("/help says what else you can do; Ctrl-D ends.\n")
        in_a_terminal(conversation)
    else:
        in_a_pipe(conversation)


def request_fields(sampling: Sampling) -> dict[str, Any]:
    """What a server is asked for; what says nothing is left out, since another may not know it."""
    asked = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }
    return {name: value for name, value in asked.items() if value is not None}


def conversation_with(
    url: str,
    api_key: str | None,
    model: str,
    system: str | None,
    messages: list[dict[str, str]],
    options: dict[str, Any],
) -> RemoteConversation:
    """A conversation with a server; with its only model, or its first, if none is named."""
    from decodeloop.serve.client import Endpoint
    from decodeloop.serve.remote import RemoteConversation

    endpoint = Endpoint(url, api_key)
    name = model if model != MODEL else endpoint.models()[0]
    fields = {key: value for key, value in options.items() if value is not None}
    return RemoteConversation(endpoint, name, system, messages, fields)


class Ended(Exception):
    """The person has had enough."""


def in_a_terminal(conversation: Conversation | RemoteConversation) -> None:
    """Ask, answer, and so on, until the person has enough."""
    read = line_editor()
    line = ""  # what stands in the input line already
    with deaf_to_ctrl_c():
        while True:
            try:
                text = read(line)
                line = ""
                if is_command(text):
                    obey(text, conversation)
                elif text.strip() and not answered(unescaped(text), conversation, in_terminal=True):
                    line = text
            except UserError as error:  # neither the conversation nor the message is lost
                aside(str(error))
                line = "" if is_command(text) else text
            except KeyboardInterrupt:  # clears the line, as in a shell
                line = ""
            except (EOFError, Ended):
                return


def in_a_pipe(conversation: Conversation | RemoteConversation) -> None:
    """Answer each line of the input; bad input ends it, and so does Ctrl-C."""
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is no UTF-8 becomes U+FFFD
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    for line in sys.stdin or ():  # there is none where it was closed
        text = line.rstrip("\r\n")
        try:
            if is_command(text):
                obey(text, conversation)
            elif text.strip():
                answered(unescaped(text), conversation, in_terminal=False)
        except Ended:
            return


def answered(
    text: str, conversation: Conversation | RemoteConversation, *, in_terminal: bool
) -> bool:
    """Print the answer to a message as it comes; False if it was interrupted before it began.

    Ctrl-C ends the answer, in a terminal; in a pipe there is nobody to go on with.
    """
    say = aside if in_terminal else note
    turn: Turn | RemoteTurn | None = None
    interrupted = False
    try:
        with hearing_ctrl_c() if in_terminal else contextlib.nullcontext():
            turn = conversation.ask(text)
            if turn.forgotten:
                say(
                    f"the oldest {turn.forgotten} messages went: with room for an answer, the "
                    f"others just fit into the context of {turn.context:,} tokens"
                )
            for piece in turn:
                print(shown(piece), end="", flush=True)
    except KeyboardInterrupt:
        if not in_terminal:
            raise
        interrupted = True
    print()
    if turn is None or (interrupted and not turn.text):
        say("interrupted; your question stands in the line again")
        return False
    if interrupted:
        say("interrupted")
    elif turn.finish_reason == "length":
        limit = "--max-new-tokens" if turn.full_length else "where the context ends"
        say(f"cut after {len(turn.tokens)} tokens: {limit}")
    if in_terminal:
        say(turn.timing + "\n")
    return True


def is_command(text: str) -> bool:
    return text.lstrip().startswith("/") and not text.startswith("//")


def unescaped(text: str) -> str:
    return text[1:] if text.startswith("//") else text


def obey(text: str, conversation: Conversation | RemoteConversation) -> None:
    """Do what a line that begins with / says.

    Raises:
        Ended: it says that the chat ends.
        UserError: there is no such command, or it can't be done.
    """
    command, *more = text.split(maxsplit=1)
    rest = more[0] if more else ""
    match command:
        case "/quit" | "/exit":
            raise Ended
        case "/help":
            print(HELP + "\n")
        case "/reset":
            conversation.reset()
            note("all forgotten")
        case "/undo":
            question = conversation.undo()
            note("there is nothing to take back" if question is None else f"taken back: {question}")
        case "/save":
            save(conversation.everything, rest.strip())
        case _:
            raise UserError(
                f"there is no command {command}: expected one of /reset, /undo, /save, /help, "
                f"/quit; a message that begins with / is written with two."
            )


def save(messages: list[dict[str, str]], name: str) -> None:
    """Write a conversation to a file, whole or not at all.

    Raises:
        UserError: no file is named, or it can't be written.
    """
    from decodeloop.course.progress import replace_text

    if not name:
        raise UserError("/save needs a file: give a name, such as /save chat.json.")
    if Path(name).suffix.lower() == ".json":
        text = json.dumps(messages, indent=1, ensure_ascii=False) + "\n"
    else:
        text = "\n\n".join(f"{m['role']}:\n{m['content']}" for m in messages) + "\n"
    try:
        path = Path(name).expanduser()
        if not path.name:
            raise ValueError("it names a folder")
        replace_text(path, text)
    except (OSError, ValueError, RuntimeError) as error:  # a folder, or a home that nobody has
        raise UserError(f"{name} can't be written: {one_line(error)}; name another file.") from None
    note(f"{len(messages)} messages saved in {path}")


def read_messages(path: Path) -> list[dict[str, str]]:
    """A conversation that was saved.

    Raises:
        UserError: the file is missing, or holds none.
    """
    from decodeloop.decode.conversation import check_messages

    if not os.path.isfile(path):  # which takes any name; a device could go on for ever
        raise UserError(f"--resume {path} is no file: give a .json that /save wrote.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("no conversation is as long")
        messages = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"--resume {path} can't be read: {error.strerror}; give a file that /save wrote."
        ) from None
    except (ValueError, RecursionError):
        messages = None
    if not isinstance(messages, list):
        raise UserError(
            f"--resume {path} holds no list of messages: give a .json that /save wrote."
        )
    try:
        check_messages(messages)
    except UserError as error:
        raise UserError(f"--resume {path}: {error}") from None
    return messages

"""What commands share: options that mean the same everywhere, and how a person meets them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decodeloop.errors import UserError, printable

if TYPE_CHECKING:
    import torch

    from decodeloop.loading import LanguageModel

MODEL = "smollm2-135m"
Json = Annotated[bool, typer.Option("--json", help="One JSON object on one line, and no more.")]
Model = Annotated[str, typer.Option(help="A name, a .gguf file, or a folder.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[
    str,
    typer.Option(
        help="What the weights are: fp32, bf16, fp16, int8, w8a8 (inputs of products too), or int4."
    ),
]
CacheDtype = Annotated[
    str | None, typer.Option(help="What keys and values are kept as: int8, int4; else as computed.")
]
Compiled = Annotated[
    bool | None,
    typer.Option(
        "--compiled/--no-compiled", help="Kernels, or PyTorch alone; kernels where they can."
    ),
]
Temperature = Annotated[float, typer.Option(help="0 is greedy; 1 is as trained.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the k best tokens only.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the best tokens, of mass p.")]
MinP = Annotated[
    float | None, typer.Option(help="Drop tokens less than p times as probable as the best.")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1: tokens that occurred become less likely.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="DECODELOOP_API_KEY", help="What the server of --url wants to see.", show_envvar=True
    ),
]
Seed = Annotated[int | None, typer.Option(help="The same draws again.")]
Work = Annotated[Path | None, typer.Option(help="Where you work; `work/` if not given.")]


def note(text: object) -> None:
    """Say something beside the output, which a program may read."""
    print(f"note: {printable(text)}", file=sys.stderr)


def shown(piece: str) -> str:
    """A piece of the model's text as it is printed: to the letter for a program that reads it; but
    what a model writes must not steer a terminal."""
    return printable(piece) if sys.stdout.isatty() else piece


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Say a warning as a person would, without the file and line that it comes from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: note(str(message).partition("\n")[0])
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process at once: importing torch would abort on it, or swallow it."""
    previous = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def load_as_asked(
    model: str,
    device: str | None,
    dtype: str,
    compiled: bool | None,
    cache_dtype: str | None = None,
) -> LanguageModel:
    """The model that the options ask for.

    Raises:
        UserError: as `load`; a bad `--dtype` or `--cache-dtype` is named as such.
    """
    from decodeloop.dtypes import dtype_name
    from decodeloop.loading import CACHE_BITS, DTYPES, load

    kind = dtype_name(dtype, DTYPES, "--dtype")
    if cache_dtype is not None:
        cache_dtype = dtype_name(cache_dtype, CACHE_BITS, "--cache-dtype")
    compiling = threading.Timer(5.0, note, ("compiling: up to a minute, this once.",))
    if kind == "w8a8" or cache_dtype:  # the rest was compiled by `fetch`
        compiling.start()
    try:
        return load(model, device, kind, compiled, cache_dtype)
    finally:
        compiling.cancel()


def seeded_generator(seed: int | None) -> torch.Generator:
    """A generator of random numbers: of this seed, or of one that the system gives."""
    import torch

    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**64)
    return generator


def check_at_least(least: int, **options: int | None) -> None:
    """Raise a `UserError` that names the first option whose number is too small."""
    for name, value in options.items():
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} is {value}: expected at least {least}.")


def work_folder(work: Path | None) -> Path:
    """The folder that a learner works in.

    Raises:
        UserError: there is none yet.
    """
    from decodeloop.course import building
    from decodeloop.course.progress import find_work

    folder = work or find_work(Path.cwd()) or building.project_root() / "work"
    if find_work(folder) != folder:
        raise UserError(f"{folder} is no work folder yet: 'make lab' makes one.")
    return folder

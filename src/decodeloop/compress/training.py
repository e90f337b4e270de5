"""A short training, the same on every machine: what small models, students and recoveries need.

Matrices are stepped by Muon (Jordan, 2024, kellerjordan.github.io/posts/muon): the momentum's
singular values all become about one, so that a step has the same size in every direction. Divisions
by small second moments, which make Adam's first steps a matter of rounding, are left to the
embedding and the norms.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.bar import Progress, silent
from decodeloop.errors import UserError
from decodeloop.model import BlockParts, Decoder, ModelConfig, NoCache, Parts, block

Loss = Callable[[Decoder, Tensor], Tensor]  # of a model on a batch of windows (B, T + 1)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    The rate rises over the first steps and falls to zero over the last share of them.
    """

    steps: int
    batch: int = 12
    length: int = 64  # T, the tokens that forecast; a window has one more
    matrix_rate: float = 0.02  # of Muon
    other_rate: float = 4e-3  # of AdamW
    rising: int = 20  # steps
    falling: float = 0.5  # of the steps
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.length) < 1:
            raise UserError(
                f"a training of {self.steps} steps with {self.batch} windows of {self.length} "
                f"tokens: expected at least one of each."
            )

    def rate(self, step: int) -> float:
        """What both rates are multiplied by at a step, counted from 0."""
        up = min(1.0, (step + 1) / self.rising)
        return up * min(1.0, (self.steps - step) / max(1.0, self.falling * self.steps))


def new_decoder(config: ModelConfig, seed: int = 0) -> Decoder:
    """A decoder with random weights of the sizes that training starts well from: each projection
    keeps the size of its input, and what is added to the stream is divided by √(2L).

    The numbers are `random.Random`'s, which are the same on every machine.
    """
    draw = random.Random(seed)
    decoder = Decoder(config)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if weight.ndim < 2:
                continue  # norms begin as ones
            size = 0.02 if name.startswith("embedding") else weight.shape[1] ** -0.5
            if name.endswith(("attention.output.weight", ".down.weight")):
                size /= (2 * config.layers) ** 0.5
            numbers = [draw.gauss(0.0, size) for _ in range(weight.numel())]
            weight.copy_(torch.tensor(numbers).view(weight.shape))
    return decoder


def windows(token_ids: Tensor, recipe: Recipe) -> Iterator[Tensor]:
    """A batch for each step: pieces of the text that begin anywhere.

    Shapes: token_ids (N,) → (B, T + 1) each.

    Raises:
        UserError: the text is shorter than one window.
    """
    size = recipe.length + 1
    if token_ids.ndim != 1 or len(token_ids) < size:
        raise UserError(
            f"a text of shape {tuple(token_ids.shape)}: expected (N,) with at least {size} tokens, "
            f"as many as a window has; take a longer text, or shorter windows."
        )
    draw = random.Random(recipe.seed)
    for _ in range(recipe.steps):
        starts = [draw.randrange(len(token_ids) - size + 1) for _ in range(recipe.batch)]
        yield torch.stack([token_ids[start : start + size] for start in starts])


def train(
    decoder: Decoder,
    token_ids: Tensor,
    recipe: Recipe,
    loss: Loss | None = None,
    *,
    after_step: Callable[[], None] | None = None,
    progress: Progress = silent,
) -> Decoder:
    """Train a decoder in place, and give it back ready to be used.

    Args:
        loss: of the decoder on a batch (B, T + 1); the mean surprise of the tokens that came, if
            not given.
        after_step: called after each step: to set pruned weights back to zero, say.

    Raises:
        UserError: the text is too short for one window.
    """
    loss = hard_loss if loss is None else loss
    learner, optimizer = for_training(decoder), Optimizer(decoder, recipe)
    for step, batch in enumerate(windows(token_ids, recipe)):
        optimizer.zero_grad()
        loss(learner, batch).backward()
        optimizer.step()
        if after_step is not None:
            with torch.no_grad():
                after_step()
        progress("training", (step + 1) / recipe.steps)
    return trained(decoder)


def for_training(decoder: Decoder) -> Decoder:
    """A decoder over the same weights, which now have gradients, that computes by operators whose
    gradients are fast."""
    return decoder.requires_grad_(True).train().with_parts(TRAINING_PARTS)


def trained(decoder: Decoder) -> Decoder:
    """The same decoder, ready to be used: without gradients."""
    decoder.zero_grad(set_to_none=True)
    return decoder.requires_grad_(False).eval()


def hard_loss(decoder: Decoder, batch: Tensor) -> Tensor:
    """The mean surprise of the tokens that came. Shapes: batch (B, T + 1) → a number."""
    logits = decoder(batch[:, :-1])  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten().to(logits.device))


class AttendsForTraining(NoCache):
    """What the tokens of a window attend to while a model learns: each other, by one operator,
    whose gradient is fast too."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        causal = mask is None
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=True)


def fused_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`model.rms_norm` as one operator, which halves the time of its gradient."""
    return F.rms_norm(x, weight.shape, weight, eps)


TRAINING_PARTS = Parts(
    block=partial(block, parts=BlockParts(rms_norm=fused_rms_norm)),
    rms_norm=fused_rms_norm,
    no_cache=AttendsForTraining,
)


class Optimizer:
    """Muon for the matrices of the layers, AdamW for the embedding, the head and the norms, both at
    the rates of a recipe."""

    def __init__(self, decoder: Decoder, recipe: Recipe) -> None:
        named = dict(decoder.named_parameters())  # a tied head is the embedding, and counted once
        matrices = [w for name, w in named.items() if w.ndim == 2 and name.startswith("layers.")]
        others = [w for name, w in named.items() if w.ndim != 2 or not name.startswith("layers.")]
        adam = torch.optim.AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
        self.both: dict[torch.optim.Optimizer, float] = {
            Muon(matrices, recipe.matrix_rate): recipe.matrix_rate,
            adam: recipe.other_rate,
        }
        self.recipe, self.steps = recipe, 0

    def zero_grad(self) -> None:
        """Forget the gradients: backward adds to what is there."""
        for one in self.both:
            one.zero_grad()

    def step(self) -> None:
        """Change the weights by their gradients."""
        for one, rate in self.both.items():
            for group in one.param_groups:
                group["lr"] = rate * self.recipe.rate(self.steps)
            one.step()
        self.steps += 1


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal, for matrices."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                kept = self.state[matrix]
                if not kept:
                    kept["momentum"] = torch.zeros_like(matrix)
                kept["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead = matrix.grad.lerp(kept["momentum"], group["momentum"])  # Nesterov's
                rows, columns = matrix.shape
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                matrix.add_(orthogonal(ahead), alpha=-size)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """A matrix with the singular vectors of this one, and singular values near 1.

    Newton and Schulz's iteration with the coefficients of Jordan (2024), which let the singular
    values settle between 0.7 and 1.2. Shapes: (R, C) → (R, C).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    wide = x if x.shape[0] <= x.shape[1] else x.mT
    for _ in range(rounds):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.mT

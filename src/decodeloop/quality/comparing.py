"""A model beside what it was: perplexity, KL divergence and agreement, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.errors import UserError
from decodeloop.quality.forecasts import NewCache, forecasts
from decodeloop.quality.intervals import Interval, exponential, ratio_of_sums


@dataclass(frozen=True)
class Quality:
    """How well a model forecasts some texts, and how far it is from what it was.

    Each tuple has one entry for each text, a sum over its predictions.
    """

    predictions: tuple[int, ...]
    losses: tuple[float, ...]  # in nats
    divergences: tuple[float, ...]  # in nats
    agreements: tuple[int, ...]

    @property
    def loss(self) -> Interval:
        """The mean surprise of the tokens that came, in nats."""
        return ratio_of_sums(self.losses, self.predictions)

    @property
    def perplexity(self) -> Interval:
        """e to the loss: among how many equally likely tokens it might as well have chosen."""
        return exponential(self.loss)

    @property
    def kl(self) -> Interval:
        """KL(original ‖ this): how many nats a position a code made for this one would waste."""
        return ratio_of_sums(self.divergences, self.predictions)

    @property
    def agreement(self) -> Interval:
        """At which share of the positions both have the same best token."""
        return ratio_of_sums(self.agreements, self.predictions)

    def perplexity_over(self, other: Quality) -> Interval:
        """This perplexity over another's on the same texts, drawn in pairs: 1.02 is 2 % worse.

        Raises:
            UserError: the other one was measured on other texts.
        """
        if self.predictions != other.predictions:
            raise UserError(
                "the two were measured on different texts, so their difference says nothing: "
                "measure both on the same."
            )
        more = [a - b for a, b in zip(self.losses, other.losses, strict=True)]
        return exponential(ratio_of_sums(more, self.predictions))

    def as_dict(self) -> dict[str, Any]:
        """The figures for a program to read."""
        return {
            "texts": len(self.predictions),
            "predictions": sum(self.predictions),
            "loss": self.loss.as_dict(),
            "perplexity": self.perplexity.as_dict(),
            "kl": self.kl.as_dict(),
            "agreement": self.agreement.as_dict(),
        }


class Original:
    """A model as it is before something is done to it, read once: what others are compared with.

    It keeps the log-probabilities of every token at every position (4 bytes each: 2,000 tokens of a
    vocabulary of 49,152 are 0.4 GB), so that each comparison runs one model, not two.

    Args:
        texts: token ids, a list of (T,); `tokenized` makes them.
        chunk: as `forecasts`.

    Raises:
        UserError: as `forecasts`.

    >>> from decodeloop.model import TINY, Decoder
    >>> model, texts = Decoder(TINY), [torch.tensor([1, 2, 3]), torch.tensor([4, 5])]
    >>> print(Original(model, texts).compare(model).agreement)
    1.00 (1.00 to 1.00)
    """

    def __init__(self, model: Model, texts: Sequence[Tensor], *, chunk: int | None = None) -> None:
        self.texts = list(texts)
        self.vocabulary = model.config.vocabulary
        found = dict(forecasts(model, self.texts, chunk=chunk))
        self.forecasts = [found[number] for number in range(len(self.texts))]  # (T - 1, V) each
        self.best = [forecast.argmax(-1, keepdim=True) for forecast in self.forecasts]

    @property
    def quality(self) -> Quality:
        """Its own: the divergence is 0, and it agrees with itself."""
        rows = [
            (len(ids) - 1, surprise(forecast, ids), 0.0, len(ids) - 1)
            for ids, forecast in zip(self.texts, self.forecasts, strict=True)
        ]
        return quality_of(rows)

    def compare(
        self, model: Model, *, chunk: int | None = None, new_cache: NewCache | None = None
    ) -> Quality:
        """The quality of a model that was made of this one, at the same positions.

        Args:
            chunk, new_cache: as `forecasts`.

        Raises:
            UserError: it has another vocabulary, its forecasts are no numbers, or as
                `forecasts`.
        """
        if model.config.vocabulary != self.vocabulary:
            raise UserError(
                f"the two models have vocabularies of {self.vocabulary} and "
                f"{model.config.vocabulary} tokens: what they forecast can only be compared where "
                f"it is the same tokens; measure each by itself, or take two of one family."
            )
        rows: dict[int, Row] = {}
        for number, after in forecasts(model, self.texts, chunk=chunk, new_cache=new_cache):
            ids, before = self.texts[number], self.forecasts[number]
            best = after.gather(-1, self.best[number])  # argmax takes ten times as long as amax
            rows[number] = (
                len(ids) - 1,
                surprise(after, ids),
                float(divergence(before, after).double().sum()),
                int((best[:, 0] == after.amax(-1)).sum()),
            )
        return quality_of([rows[number] for number in range(len(self.texts))])


Row = tuple[int, float, float, int]  # of one text: predictions, loss, divergence, agreements


def quality_of(rows: Sequence[Row]) -> Quality:
    """One row for each text, put together.

    Raises:
        UserError: a figure is no number, or infinite.
    """
    for number, (_, loss, divergence, _) in enumerate(rows, start=1):
        if not (math.isfinite(loss) and math.isfinite(divergence)):
            raise UserError(
                f"the forecasts at text {number} are not numbers, or leave out a token that came "
                f"(loss {loss}, divergence {divergence}): the model is damaged, or was changed too "
                f"far; look at its weights."
            )
    return Quality(*zip(*rows, strict=True))


def surprise(forecast: Tensor, ids: Tensor) -> float:
    """The loss of a text, summed over its predictions. Shapes: (T - 1, V), (T,)."""
    return -float(forecast.gather(-1, ids[1:, None].cpu()).double().sum())


def divergence(before: Tensor, after: Tensor) -> Tensor:
    """KL(before ‖ after) at each position, of log-probabilities. Shapes: two (T, V) → (T,).

    >>> half, other = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    >>> round(float(divergence(half, other)), 4)  # 0.5 ln 2 + 0.5 ln (2/3)
    0.1438
    """
    found = torch.linalg.vecdot(before.exp(), before - after)  # kl_div takes ten times as long
    return found.clamp(min=0)  # below it is rounding

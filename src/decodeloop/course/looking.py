"""What a language model expects next, and who looks at whom: as lessons ask it (lesson 01)."""

from __future__ import annotations

import torch
from torch import Tensor

from decodeloop.course.figures import token_labels
from decodeloop.loading import LanguageModel
from decodeloop.measure.inspecting import attention_maps


def forecast(
    llm: LanguageModel, text: str, mask: Tensor | None = None, best: int = 3
) -> dict[str, float]:
    """The best next tokens of a text, the most probable first, with two digits of each.

    Args:
        mask: (T, T), True where a token, a row, may look at another, a column; causal if not given.
    """
    ids = torch.tensor([llm.tokenizer.encode(text)])
    with torch.inference_mode():
        last = llm.model.hidden(ids, mask=mask)[:, -1]  # (1, C): what stands at the last token
        top = llm.model.head(last)[0].softmax(-1).topk(best)
    tokens = [llm.tokenizer.decode([token]) for token in top.indices.tolist()]
    return dict(zip(tokens, [round(p, 2) for p in top.values.tolist()], strict=True))


def look(llm: LanguageModel, text: str) -> tuple[list[str], Tensor]:
    """The T tokens of a text as labels, and what every head does with them: (L, H, T, T)."""
    ids = llm.tokenizer.encode(text)
    return token_labels(llm.tokenizer.pieces(ids)), attention_maps(llm.model, ids)


__all__ = ["forecast", "look"]

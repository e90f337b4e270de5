"""The attention of a real model over one sentence, every layer and head of it, in plain HTML.

What stands in the page is a table of one head, which needs no script. `static/pieces.js` finds the
weights of all heads beside it, and lets layer, head and token be chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from decodeloop.errors import UserError


def triangle(flat: Sequence[int], size: int) -> list[list[int]]:
    """The rows of a causal map that was written one after the other: 1 number, then 2, then 3.

    >>> triangle([100, 40, 60], 2)
    [[100], [40, 60]]

    Raises:
        UserError: there are too few or too many numbers.
    """
    wanted = size * (size + 1) // 2
    if len(flat) != wanted:
        raise UserError(
            f"a map of {size} tokens has {len(flat)} weights: expected {wanted}; make the file "
            f"again by tools/site/attention.py."
        )
    return [list(flat[row * (row + 1) // 2 : (row + 1) * (row + 2) // 2]) for row in range(size)]


def figure(data: Mapping[str, Any]) -> str:
    """The piece, in HTML without an empty line, as Markdown wants it.

    Args:
        data: what tools/site/attention.py writes: `model`, `text`, `tokens`, the head that is shown
            first as `layer` and `head`, and `weights`, per cent by layer, head, and row.
    """
    tokens, (layer, head) = data["tokens"], (data["layer"], data["head"])
    layers, heads = len(data["weights"]), len(data["weights"][0])
    rows = triangle(data["weights"][layer][head], len(tokens))
    columns = "".join(f'<th scope="col">{escape(token)}</th>' for token in tokens)
    body = "".join(
        f'<tr><th scope="row">{escape(tokens[at])}</th>{"".join(map(weight_cell, row))}'
        f"{'<td></td>' * (len(tokens) - len(row))}</tr>"
        for at, row in enumerate(rows)
    )
    inline = json.dumps({"tokens": tokens, "weights": data["weights"]}, separators=(",", ":"))
    return (
        f'<figure class="piece attention-piece" data-layer="{layer}" data-head="{head}">\n'
        f"<figcaption>Who asks stands at the left, who is asked on top; in a cell, how much of 100 "
        f"is taken from there. {escape(data['model'])}, "
        f'<span class="which">layer {layer}, head {head}</span>.</figcaption>\n'
        f'<div class="controls" hidden>{slider("layer", layers, layer)}'
        f"{slider('head', heads, head)}</div>\n"
        f'<div class="wide" tabindex="0" role="region" aria-label="attention weights"><table>'
        f"<thead><tr><td></td>{columns}</tr></thead><tbody>{body}</tbody></table></div>\n"
        f'<output aria-live="polite"></output>\n'
        f'<script type="application/json">{inline.replace("<", chr(92) + "u003c")}</script>\n'
        f"</figure>"
    )


def weight_cell(weight: int) -> str:
    return f'<td style="--weight:{weight}%">{weight}</td>'


def slider(name: str, count: int, value: int) -> str:
    return (
        f'<label>{name} <input type="range" name="{name}" min="0" max="{count - 1}" '
        f'value="{value}"></label>'
    )


__all__ = ["figure", "triangle"]

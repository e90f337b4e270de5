"""Write the attention weights that the site shows: every layer and head of the model on a sentence.

    python tools/site/attention.py

What it writes, attention.json beside it, is committed: the site is built without the model.
"""

from __future__ import annotations

import json
from pathlib import Path

from decodeloop import load
from decodeloop.course.figures import token_labels
from decodeloop.measure.inspecting import attention_maps

TEXT = "The Eiffel Tower is in the city of"  # lesson 01's
LAYER, HEAD = 23, 5  # what is shown first: at the end it looks at the tower
NAME = "SmolLM2-135M-Instruct"


def main() -> None:
    llm = load("smollm2-135m", compiled=False)
    ids = llm.tokenizer.encode(TEXT)
    maps = (100 * attention_maps(llm.model, ids)).round().int()  # (L, H, T, T), per cent
    weights = [
        [[w for row, all_ in enumerate(head) for w in all_[: row + 1]] for head in layer]
        for layer in maps.tolist()
    ]
    data = {
        "model": NAME,
        "text": TEXT,
        "tokens": token_labels(llm.tokenizer.pieces(ids)),
        "layer": LAYER,
        "head": HEAD,
        "weights": weights,
    }
    path = Path(__file__).with_name("attention.json")
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(f"{path.name}: {len(weights)} layers, {len(weights[0])} heads, {len(ids)} tokens")


if __name__ == "__main__":
    main()

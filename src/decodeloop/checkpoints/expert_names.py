"""Names of experts: which expert a part is of, and Mixtral's names, which are others than Qwen's.

Inside, an expert's matrices are named as a feed-forward layer's are, with the expert's number, and
the hub's names are Qwen's. A Mixtral folder is translated where it is read or written.
"""

from __future__ import annotations

import re

EXPERT = re.compile(r"((?:.*\.)?(?:feed_forward|mlp))\.experts\.(0|[1-9]\d{0,8})\.(.+)")
MATRICES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}  # Mixtral's → Qwen's
THEIRS = {qwen: mixtral for mixtral, qwen in MATRICES.items()}
OF_MIXTRAL = re.compile(r"(.*)\.block_sparse_moe\.(?:gate|experts\.(\d+)\.(w[123]))\.(.+)")
OF_QWEN = re.compile(r"(.*)\.mlp\.(?:gate|experts\.(\d+)\.(gate_proj|down_proj|up_proj))\.(.+)")


def without_expert(name: str) -> tuple[str, int | None]:
    """The name of a part as if there were but one feed-forward layer, and the expert's number.

    >>> without_expert("feed_forward.experts.3.gate"), without_expert("attention.query")
    (('feed_forward.gate', 3), ('attention.query', None))
    """
    match = EXPERT.fullmatch(name)
    return (f"{match[1]}.{match[3]}", int(match[2])) if match else (name, None)


def with_expert(name: str, expert: int | None) -> str:
    """The way back.

    >>> with_expert("mlp.gate_proj", 3)
    'mlp.experts.3.gate_proj'
    """
    layer, _, matrix = name.rpartition(".")
    return name if expert is None else f"{layer}.experts.{expert}.{matrix}"


def from_mixtral(name: str) -> str:
    """A tensor's name in a Mixtral folder → the hub's name that is known here; others stay.

    >>> from_mixtral("model.layers.0.block_sparse_moe.experts.3.w1.weight")
    'model.layers.0.mlp.experts.3.gate_proj.weight'
    """
    if not (match := OF_MIXTRAL.fullmatch(name)):
        return name
    layer, expert, matrix, kind = match.groups()
    part = "gate" if expert is None else f"experts.{expert}.{MATRICES[matrix]}"
    return f"{layer}.mlp.{part}.{kind}"


def to_mixtral(name: str) -> str:
    """The way back.

    >>> to_mixtral("model.layers.0.mlp.gate.weight")
    'model.layers.0.block_sparse_moe.gate.weight'
    """
    if not (match := OF_QWEN.fullmatch(name)):
        return name
    layer, expert, matrix, kind = match.groups()
    part = "gate" if expert is None else f"experts.{expert}.{THEIRS[matrix]}"
    return f"{layer}.block_sparse_moe.{part}.{kind}"

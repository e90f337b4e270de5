"""FLOPs and bytes of one forward pass, term by term, and of a whole generation.

FLOPs are those of the matrix products alone, a multiply-add being two of them. PyTorch's
`torch.utils.flop_counter` counts a decoder that is written with `@` and `F.linear` the same, to the
FLOP. Norms, softmax, rotary positions and activations are not in it: they are a few percent of the
operations. Causal or not, all T·S scores of a head are counted: a decoder `WITH_TABLE` computes the
masked half too.

Bytes are a lower bound: weights and cache cross from memory to the processor once in a forward,
and nothing of them stays there from one forward to the next. Activations and scores count nothing,
as if they never left the chip.

Kaplan et al., "Scaling Laws for Neural Language Models" (2020), section 2.1; Pope et al.,
"Efficiently Scaling Transformer Inference" (2022), section 2. Built in lessons 10 and 10b.
"""

from __future__ import annotations

from decodeloop.cost.architecture import (
    cached_numbers,
    parameters_by_part,
    products,
    score_widths,
)
from decodeloop.cost.checks import check_bytes_per_number, check_whole, check_window, whole_bytes
from decodeloop.cost.experts import expected_experts
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig


def matmul_flops(rows: int, inner: int, columns: int) -> int:
    """FLOPs of the product of a (rows, inner) and an (inner, columns) matrix.

    Each entry of the result is a sum of `inner` products: as many multiplications, as many
    additions. No rows are no work: a head that runs on no position.

    Raises:
        UserError: a number is not whole and positive (`rows` may be 0).

    >>> matmul_flops(2, 3, 4), matmul_flops(0, 3, 4)
    (48, 0)
    """
    check_whole("matmul_flops", inner=inner, columns=columns)
    check_whole("matmul_flops", at_least=0, rows=rows)
    return 2 * rows * inner * columns


def forward_flops(
    config: ModelConfig, batch: int, T: int, S: int, logits: int = 1
) -> dict[str, int]:
    """FLOPs of the matrix products of one forward pass, by what they are for.

    `T` new positions attend to `S` keys, their own included, in each of `batch` rows: S = T in a
    prefill, T = 1 in a decode step. The head runs on `logits` positions of each row. `projections`
    are those of query, key, value and output. With experts, each position is computed by those that
    it is sent to; the router is a term of its own.

    Raises:
        UserError: a number is not whole and positive (`logits` may be 0), T > S, or logits > T.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> flops = forward_flops(SMOLLM2_135M, 1, 128, 128)
    >>> flops["scores"], flops["head"]
    (566231040, 56623104)
    """
    check_forward("forward_flops", batch, T, S, logits)
    check_window("forward_flops", config, S)
    positions = batch * T
    scores, values = (
        config.layers * batch * config.heads * matmul_flops(T, width, S)
        for width in score_widths(config, T, S)
    )
    flops = {"projections": 0, "scores": scores, "weighted_sum": values, "feed_forward": 0}
    for product in products(config):
        part = "projections" if product.part == "attention" else product.part
        work = product.used * matmul_flops(positions, product.columns, product.rows)
        flops[part] = flops.get(part, 0) + work
    return flops | {"head": 2 * batch * logits * config.width * config.vocabulary}


def prefill_flops(config: ModelConfig, batch: int, T: int) -> int:
    """FLOPs of reading prompts of T tokens, with the logits of the last position alone."""
    return sum(forward_flops(config, batch, T, T).values())


def masked_flops(config: ModelConfig, batch: int, T: int) -> int:
    """Of `prefill_flops`, what is spent on scores and sums that the causal mask throws away.

    Nearly half of the attention; an implementation may leave them out.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> masked_flops(SMOLLM2_135M, 1, 1), masked_flops(SMOLLM2_135M, 1, 2)
    (0, 69120)
    """
    check_forward("masked_flops", batch, T, T, 1)
    check_window("masked_flops", config, T)
    pairs = T * (T - 1) // 2
    each = sum(matmul_flops(1, width, 1) for width in score_widths(config, T, T))
    return config.layers * batch * config.heads * pairs * each


def decode_flops(config: ModelConfig, batch: int, S: int) -> int:
    """FLOPs of one more token for each row, when S positions are then in the cache."""
    return sum(forward_flops(config, batch, 1, S).values())


def forward_bytes(
    config: ModelConfig,
    batch: int,
    T: int,
    S: int,
    *,
    weight_bytes_per_number: float = 4,
    cache_bytes_per_number: float = 4,
    logits: int = 1,
) -> dict[str, int]:
    """Bytes that one forward pass must move at least, by what they are.

    `weights` are all those of the layers, norms and biases included, read once whatever the batch;
    of experts those that the batch·T positions meet, which is no bound but an average: each
    position's are taken to be drawn evenly, and for itself.
    `head` is the head's matrix, as a whole, also where it is the embedding's own (tied), and
    nothing where `logits` is 0. `embedding_rows` has one row of the table for each new token, also
    where a token comes twice.
    `kv_read` are keys and values of the S - T positions that were there before, `kv_write` those
    of the T new ones; each row of the batch has its own.

    Raises:
        UserError: as `forward_flops`; or a size of a number is not positive.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> moved = forward_bytes(SMOLLM2_135M, 1, 1, 128)
    >>> moved["weights"] + moved["head"], moved["kv_read"], moved["kv_write"]
    (538060032, 5852160, 46080)
    """
    check_forward("forward_bytes", batch, T, S, logits)
    check_window("forward_bytes", config, S)
    check_bytes_per_number(
        "forward_bytes",
        weight_bytes_per_number=weight_bytes_per_number,
        cache_bytes_per_number=cache_bytes_per_number,
    )
    parts = parameters_by_part(config)
    position_rows = T if config.learned_positions else 0  # shared by the batch
    in_cache = config.layers * cached_numbers(config)  # numbers for each position
    layers = parts["attention"] + parts["norms"] + parts.get("router", 0)
    weights = {
        "weights": layers + parts["feed_forward"] - never_met(config, batch * T),
        "head": config.vocabulary * config.width if logits else 0,
        "embedding_rows": (batch * T + position_rows) * config.width,
    }
    cache = {"kv_read": batch * (S - T) * in_cache, "kv_write": batch * T * in_cache}
    return {part: whole_bytes(n * weight_bytes_per_number) for part, n in weights.items()} | {
        part: whole_bytes(n * cache_bytes_per_number) for part, n in cache.items()
    }


def never_met(config: ModelConfig, positions: int) -> float:
    """The numbers of all experts that no position is sent to, on average."""
    if (experts := config.experts) is None:
        return 0
    met = expected_experts(experts.number, experts.active, positions)
    mixed = config.layers - experts.dense_layers
    expert = sum(
        product.rows * (product.columns + product.bias)
        for product in products(config)
        if product.part == "feed_forward" and product.held != product.used
    )
    return mixed * (experts.number - met) * expert


def prefill_bytes(
    config: ModelConfig,
    batch: int,
    T: int,
    *,
    weight_bytes_per_number: float = 4,
    cache_bytes_per_number: float = 4,
) -> int:
    """Bytes that reading prompts of T tokens must move at least."""
    return sum(
        forward_bytes(
            config,
            batch,
            T,
            T,
            weight_bytes_per_number=weight_bytes_per_number,
            cache_bytes_per_number=cache_bytes_per_number,
        ).values()
    )


def decode_bytes(
    config: ModelConfig,
    batch: int,
    S: int,
    *,
    weight_bytes_per_number: float = 4,
    cache_bytes_per_number: float = 4,
) -> int:
    """Bytes that one decode step must move at least, when S positions are then in the cache."""
    return sum(
        forward_bytes(
            config,
            batch,
            1,
            S,
            weight_bytes_per_number=weight_bytes_per_number,
            cache_bytes_per_number=cache_bytes_per_number,
        ).values()
    )


def generation_flops(config: ModelConfig, prompt: int, new_tokens: int, cached: bool = True) -> int:
    """FLOPs of making `new_tokens` tokens after a prompt of `prompt`, batch 1.

    The first new token comes out of the prefill; the last one is chosen and never read. Without a
    cache every token costs a prefill of all that stands before it.

    Raises:
        UserError: a number is not whole and positive.
    """
    check_whole("generation_flops", prompt=prompt, new_tokens=new_tokens)
    lengths = range(prompt + 1, prompt + new_tokens)  # after the first
    further = decode_flops if cached else prefill_flops
    return prefill_flops(config, 1, prompt) + sum(further(config, 1, S) for S in lengths)


def attention_overtakes(config: ModelConfig) -> float:
    """The prompt length at which scores and weighted sums cost as many FLOPs as all linear layers.

    The head stands aside. Shorter prompts spend more on the linear layers, longer ones more on
    attention. A decode step has its break-even at S = the same.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> attention_overtakes(SMOLLM2_135M)
    3072.0
    """
    in_layers = sum(product.used * product.rows * product.columns for product in products(config))
    widths = sum(score_widths(config, 1, 1))
    return in_layers / (config.layers * config.heads * widths)  # 2·T·in_layers = 2·T²·L·H·widths


def check_forward(function: str, batch: int, T: int, S: int, logits: int) -> None:
    """Raise `UserError` unless these are the sizes of a forward pass."""
    check_whole(function, batch=batch, T=T, S=S)
    check_whole(function, at_least=0, logits=logits)
    if T > S:
        raise UserError(
            f"{function}: T = {T} new positions and S = {S} keys: S counts the new ones too, so it "
            f"must be at least T; pass S = cached + T."
        )
    if logits > T:
        raise UserError(
            f"{function}: logits = {logits} positions of each row, of which T = {T} are new: "
            f"expected at most T."
        )

"""The tables can't be checked against the data sheets here; what errors of typing break, can be."""

import copy
import dataclasses
import math
import re
from urllib.parse import urlsplit

import pytest

from decodeloop.cost import (
    ACCELERATORS,
    BYTES,
    PRESETS,
    PUBLISHED,
    Source,
    accelerator,
    decode_bytes,
    peak,
    table,
)
from decodeloop.cost.accelerators import UNVERIFIED
from decodeloop.errors import UserError

PARTS = list(ACCELERATORS.values())
CELLS = [(part, cell) for part in PARTS for cell in part.cells]
TENSOR_CORES = ["a10g", "l4", "a100-40gb-sxm", "a100-80gb-sxm", "l40s", "h100-sxm", "h100-pcie"]
TENSOR_CORES += ["h200-sxm", "b200-sxm"]
TERA, GB = 1e12, 1e9

parts = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.key)
cells = pytest.mark.parametrize(
    ("part", "cell"), CELLS, ids=[f"{part.key}-{cell}" for part, cell in CELLS]
)
figures = pytest.mark.parametrize(
    "figure", PUBLISHED, ids=lambda f: f"{f.engine}-{f.accelerator}-{f.model}-{f.dtype}-{f.devices}"
)


# every part


def test_the_catalogue_has_the_kinds_of_parts_that_serve_models():
    assert len(PARTS) >= 14
    assert {part.kind for part in PARTS} == {"GPU", "TPU", "NPU", "CPU"}


def test_keys_and_names_are_unique():
    assert [part.key for part in PARTS] == list(ACCELERATORS)
    assert len({part.name for part in PARTS}) == len(PARTS)


@parts
def test_values_are_within_what_can_be_built(part):
    assert 2018 <= part.year <= 2026
    assert 30 * GB <= part.bandwidth <= 20e12
    assert 8 * GB <= part.memory <= 8e12
    assert part.link is None or 10 * GB <= part.link < part.bandwidth
    assert part.on_chip is None or 2**20 <= part.on_chip < part.memory
    assert part.flops
    assert set(part.flops) <= {*BYTES, "tf32", "fp4"}


@parts
def test_the_ridge_is_where_ridges_are(part):
    """A peak in GFLOP/s or a bandwidth in TB/s would be off by a thousand."""
    ridges = [flops / part.bandwidth for flops in part.flops.values()]
    assert 5 < min(ridges) < 400
    assert 25 < max(ridges) < 2000


@parts
def test_reading_the_whole_memory_takes_between_a_few_milliseconds_and_seconds(part):
    assert 5e-3 < part.memory / part.bandwidth < 20


@parts
def test_narrower_numbers_are_not_slower(part):
    order = ["fp32", "tf32", "bf16", "fp8", "fp4"]
    rates = [part.flops[dtype] for dtype in order if dtype in part.flops]
    assert rates == sorted(rates)
    if "int8" in part.flops:
        assert part.flops["int8"] == max(part.flops[t] for t in part.flops if t != "fp4")


@parts
def test_both_16_bit_types_have_one_rate(part):
    assert part.flops.get("bf16", 0) == part.flops.get("fp16", 0) or not (
        {"bf16", "fp16"} <= set(part.flops)
    )


@pytest.mark.parametrize("key", TENSOR_CORES)
def test_tensor_cores_halve_with_tf32_and_double_with_8_bits(key):
    """A sparse number among dense ones breaks one of the two."""
    flops = accelerator(key).flops
    assert flops["tf32"] == pytest.approx(flops["bf16"] / 2, rel=0.03)
    assert flops["int8"] == pytest.approx(2 * flops["bf16"], rel=0.03)
    assert flops.get("fp8", flops["int8"]) == flops["int8"]


def test_the_dense_numbers_are_taken_where_data_sheets_shout_the_sparse_ones():
    in_bf16 = {"h100-sxm": 989.4, "h100-pcie": 756.5, "l4": 121, "l40s": 362.05, "a10g": 70}
    in_bf16 |= {"a100-80gb-sxm": 312, "b200-sxm": 2250, "mi300x": 1307.4}
    assert {key: peak(key, "bf16") / TERA for key in in_bf16} == pytest.approx(in_bf16)


def test_geforce_multiplies_with_sums_in_32_bits():
    assert peak("rtx-4090", "fp16") == 165.2 * TERA  # not 330.3, with sums in 16
    assert peak("rtx-3090", "fp16") == 71.2 * TERA  # not 142
    assert peak("rtx-4090", "int8") == pytest.approx(4 * peak("rtx-4090", "fp16"), rel=0.01)


@pytest.mark.parametrize(
    ("key", "name", "share"),
    [
        ("a100-40gb-sxm", "a100-80gb-sxm", 1),
        ("h200-sxm", "h100-sxm", 1),
        ("mi250x-die", "mi250x", 0.5),
    ],
)
def test_parts_with_the_same_chip_have_the_same_rates(key, name, share):
    one, other = accelerator(key), accelerator(name)
    assert one.flops == {dtype: share * flops for dtype, flops in other.flops.items()}
    assert one.link == share * other.link
    assert one.on_chip == share * other.on_chip


@pytest.mark.parametrize(
    ("key", "channels", "bits", "mega_transfers"),
    [
        ("t4", 1, 256, 10_000),
        ("rtx-4090", 1, 384, 21_000),
        ("rtx-3090", 1, 384, 19_500),
        ("l40s", 1, 384, 18_000),
        ("a10g", 1, 384, 12_500),
        ("l4", 1, 192, 12_500),
        ("a100-40gb-sxm", 1, 5120, 2 * 1215),
        ("a100-80gb-sxm", 1, 5120, 2 * 1593),
        ("xeon-8480", 8, 64, 4800),
        ("epyc-9654", 12, 64, 4800),
        ("core-ultra-npu", 1, 128, 8533),
    ],
)
def test_bandwidth_is_width_times_rate(key, channels, bits, mega_transfers):
    expected = channels * bits / 8 * mega_transfers * 1e6
    assert accelerator(key).bandwidth == pytest.approx(expected, rel=0.01)


# sources


@cells
def test_every_cell_has_a_positive_number_and_a_source(part, cell):
    assert part.value(cell) > 0
    source = part.sources[cell]
    assert len(source.document) > 10
    assert source.seen == UNVERIFIED or source.seen.startswith(("read", "quoted by", "computed"))


@parts
def test_no_source_is_left_over(part):
    assert set(part.sources) == set(part.cells)


@parts
def test_most_numbers_were_looked_up(part):
    assert len(part.unverified) < len(part.cells) / 2
    assert "bandwidth" not in part.unverified


SOURCES = {s for part in PARTS for s in part.sources.values()} | {f.source for f in PUBLISHED}


# sorted, since tests that run side by side must find the same list
@pytest.mark.parametrize(
    "source", sorted(SOURCES, key=str), ids=lambda source: source.document[:40]
)
def test_addresses_are_addresses(source):
    if source.url:
        assert urlsplit(source.url).scheme in ("http", "https")
        assert "." in urlsplit(source.url).netloc
        assert not re.search(r"\s", source.url)


def test_a_source_says_what_it_is():
    assert str(Source("Sheet, p. 1", "https://a.example", "read")) == (
        "Sheet, p. 1, https://a.example (read)"
    )
    assert str(Source("Sheet, p. 1")) == "unverified; to check: Sheet, p. 1"
    entry = Source("An entry", "https://grokipedia.com/page/NVIDIA", "read")
    assert str(entry) == "unverified; seen on An entry, https://grokipedia.com/page/NVIDIA"
    assert not entry.verified


def test_a_cell_without_a_source_is_refused():
    t4 = accelerator("t4")
    without = {cell: source for cell, source in t4.sources.items() if cell != "fp16"}
    with pytest.raises(UserError, match="t4: fp16 has no source"):
        dataclasses.replace(t4, sources=without)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "300 GB/s"])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(UserError, match=r"t4: bandwidth is .* expected a positive number"):
        dataclasses.replace(accelerator("t4"), bandwidth=value)


def test_parts_are_frozen_and_can_be_copied_and_hashed():
    t4 = accelerator("t4")
    with pytest.raises(dataclasses.FrozenInstanceError):
        t4.bandwidth = 1  # type: ignore[misc]
    assert copy.deepcopy(t4) == t4
    assert len({t4, copy.deepcopy(t4), accelerator("l4")}) == 2


# looking up


@pytest.mark.parametrize(
    "name", ["h100-sxm", "H100-SXM", "h100 sxm", " H100_SXM ", "NVIDIA H100 80 GB (SXM5)"]
)
def test_a_part_is_found_however_its_name_is_written(name):
    assert accelerator(name) is ACCELERATORS["h100-sxm"]


def test_plain_names_don_t_collide():
    assert all(accelerator(part.key) is part and accelerator(part.name) is part for part in PARTS)


def test_an_unknown_part_is_refused_with_those_that_are_known():
    with pytest.raises(UserError, match=r"'h100-smx': did you mean h100-sxm\?") as refusal:
        accelerator("h100-smx")
    assert all(key in str(refusal.value) for key in ACCELERATORS)
    with pytest.raises(UserError, match=r"unknown accelerator 'zx81'\? Known are t4,"):
        accelerator("zx81")


def test_a_peak_by_part_or_by_name():
    assert peak("a100-80gb-sxm", "bf16") == peak(accelerator("a100-80gb-sxm"), "bf16") == 312e12


def test_a_peak_that_a_part_has_not_is_refused_with_those_that_it_has():
    with pytest.raises(UserError, match="t4 has no peak for 'bf16': expected one of fp32, fp16"):
        peak("t4", "bf16")


# the table


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_table_has_a_row_for_each_part_and_a_footnote_for_each_source():
    first, summary, second, end = table().split("\n\n")
    head, _, *body = rows(first)
    assert [row[0] for row in body] == [part.name for part in PARTS]
    assert {len(row) for row in body} == {len(head)}
    cited = {number for row in body for number in re.findall(r"\[\d+\]", row[-1])}
    listed = [row[0] for row in rows(second)[2:]]
    assert cited == set(listed)
    assert len(listed) == len(set(listed))
    assert summary.startswith(f"<details><summary>{len(listed)} sources") and end == "</details>"


def test_the_table_prints_numbers_as_data_sheets_do():
    first, _, second, _ = table(["H100 SXM"]).split("\n\n")
    head, _, row = rows(first)
    shown = dict(zip(head, row, strict=True))
    assert shown["bf16"] == "989.4"
    assert (shown["bandwidth"], shown["ridge, 16 bit"]) == ("3,350", "295")
    assert (shown["memory"], shown["link"], shown["on chip"]) == ("80", "900", "50")
    assert "h100-sxm: fp32, tf32" in second


def test_the_table_marks_what_is_not_verified_and_what_is_not_there():
    first, _, second, _ = table(["m2-ultra"]).split("\n\n")
    head, _, row = rows(first)
    shown = dict(zip(head, row, strict=True))
    assert shown["bf16"].endswith("*") and shown["ridge, 16 bit"] == "34*"
    assert shown["tf32"] == shown["link"] == "–"
    assert UNVERIFIED in second


def test_the_table_of_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="unknown accelerator 'zx81'"):
        table(["t4", "zx81"])


# what was measured


def test_there_are_enough_published_figures_that_were_looked_up():
    assert sum(figure.source.verified for figure in PUBLISHED) >= 5
    assert len({figure.engine for figure in PUBLISHED}) >= 3
    assert len(set(PUBLISHED)) == len(PUBLISHED)


@figures
def test_a_published_figure_names_what_exists(figure):
    assert figure.accelerator in ACCELERATORS
    assert figure.model in PRESETS
    assert 1 <= figure.bytes_per_weight / BYTES[figure.dtype] < 1.3  # scales take some room
    assert figure.batch >= 1
    assert figure.devices >= 1
    assert figure.context + 1 <= PRESETS[figure.model].context


@figures
def test_nobody_reads_faster_than_the_memory(figure):
    """A wrong width, unit or part would push a figure above its ceiling."""
    moved = decode_bytes(
        PRESETS[figure.model],
        figure.batch,
        figure.context + 1,
        weight_bytes_per_number=figure.bytes_per_weight,
        cache_bytes_per_number=2,
    )
    bandwidth = figure.devices * accelerator(figure.accelerator).bandwidth
    reached = figure.tokens_per_s / figure.batch * moved / bandwidth
    assert 0.02 < reached < 0.95


@figures
def test_the_weights_fit_where_they_were_read(figure):
    config = PRESETS[figure.model]
    weights = decode_bytes(config, 1, 1, weight_bytes_per_number=figure.bytes_per_weight)
    assert weights < figure.devices * accelerator(figure.accelerator).memory


def test_long_contexts_slow_the_same_engine_down():
    qwen = [f for f in PUBLISHED if (f.model, f.engine) == ("qwen2.5-7b", "vLLM 0.6.3")]
    assert len(qwen) >= 3
    by_context = sorted(qwen, key=lambda figure: figure.context)
    speeds = [figure.tokens_per_s for figure in by_context]
    assert speeds == sorted(speeds, reverse=True)

"""How fast this project decodes on this machine, and the engines that people use otherwise."""

from decodeloop.bench.batches import BatchReport, BatchRow, BatchSettings, bench_batches
from decodeloop.bench.contenders import CONTENDERS, TABLE, Contender
from decodeloop.bench.drafts import DraftReport, DraftRow, DraftSettings, bench_drafts
from decodeloop.bench.runs import Report, Row, Settings, bench, config_of
from decodeloop.bench.serving import LoadRow, LoadSettings, bench_server

__all__ = [
    "CONTENDERS",
    "TABLE",
    "BatchReport",
    "BatchRow",
    "BatchSettings",
    "Contender",
    "DraftReport",
    "DraftRow",
    "DraftSettings",
    "LoadRow",
    "LoadSettings",
    "Report",
    "Row",
    "Settings",
    "bench",
    "bench_batches",
    "bench_drafts",
    "bench_server",
    "config_of",
]

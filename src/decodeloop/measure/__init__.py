"""What inference costs by the clock: times, peaks, steps, load, memory, and a look inside."""

from decodeloop.measure.at_load import Shared, mean_service, run_at_load
from decodeloop.measure.few_tokens import few_token_costs
from decodeloop.measure.inspecting import SilencedCache, attention_maps, bytes_held, peak_bytes
from decodeloop.measure.load import Load, run_alone, run_load, single_stream
from decodeloop.measure.machine import (
    ForwardTime,
    Machine,
    forward_times,
    linear_bandwidth,
    measure_machine,
    narrow,
)
from decodeloop.measure.process import peak_resident_bytes, resident_bytes
from decodeloop.measure.reading import attention_times, reading_times
from decodeloop.measure.steps import step_times
from decodeloop.measure.timing import fitted_exponent, fresh_mib, median_seconds
from decodeloop.measure.users import (
    UserLoad,
    ask_at,
    ask_in_turns,
    tokens_from,
    tokens_per_second,
)

__all__ = [
    "ForwardTime",
    "Load",
    "Machine",
    "Shared",
    "SilencedCache",
    "UserLoad",
    "ask_at",
    "ask_in_turns",
    "attention_maps",
    "attention_times",
    "bytes_held",
    "few_token_costs",
    "fitted_exponent",
    "forward_times",
    "fresh_mib",
    "linear_bandwidth",
    "mean_service",
    "measure_machine",
    "median_seconds",
    "narrow",
    "peak_bytes",
    "peak_resident_bytes",
    "reading_times",
    "resident_bytes",
    "run_alone",
    "run_at_load",
    "run_load",
    "single_stream",
    "step_times",
    "tokens_from",
    "tokens_per_second",
]

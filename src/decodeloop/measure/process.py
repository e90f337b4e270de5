"""What this process holds in memory, and what its machine sends to itself, as the system tells."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path

STATUS = Path("/proc/self/status")  # Linux alone has it
NETWORK = Path("/proc/net/dev")
CLEAR = Path("/proc/self/clear_refs")


def resident_bytes() -> float:
    """Bytes of this process that lie in memory now (its resident set); NaN where it isn't told.

    Linux tells it. Pages that were asked for and never touched are not in it.
    """
    return status_field("VmRSS")


def peak_resident_bytes() -> float:
    """The most bytes of this process that ever lay in memory; NaN where it isn't told.

    Not from `getrusage`: a process inherits its parent's peak there.
    """
    return status_field("VmHWM")


def forget_peak() -> bool:
    """From now on `peak_resident_bytes` counts anew, where the system lets it (Linux): whether it
    does."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", "utf-8")
        return True
    return False


def loopback_bytes() -> float:
    """Bytes that this machine has sent to itself over its network so far, headers included, whoever
    sent them; NaN where it isn't told. Linux tells it."""
    try:
        found = re.search(r"^\s*lo:\s*(\d+)", NETWORK.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return math.nan
    return float(found[1]) if found else math.nan


def status_field(field: str) -> float:
    """A field of the status file, in bytes."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text("utf-8"))
    except OSError:
        return math.nan
    return 1024.0 * int(found[1]) if found else math.nan

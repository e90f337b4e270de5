"""How fast this project decodes on this machine, and the engines that people use otherwise."""

from decodeloop.bench.paths import PATHS, Path
from decodeloop.bench.runs import Report, Row, Settings, bench, config_of

__all__ = ["PATHS", "Path", "Report", "Row", "Settings", "bench", "config_of"]

"""How fast this project decodes on this machine, and the engines that people use otherwise."""

from decodeloop.bench.contenders import CONTENDERS, Contender
from decodeloop.bench.runs import Report, Row, Settings, bench, config_of

__all__ = ["CONTENDERS", "Contender", "Report", "Row", "Settings", "bench", "config_of"]

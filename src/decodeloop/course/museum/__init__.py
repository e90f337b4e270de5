"""The failure museum: faults that engines have shipped, and one's own parts held against them."""

from decodeloop.course.museum.faults import FAULTS, Fault
from decodeloop.course.museum.rig import Kit
from decodeloop.course.museum.walk import Finding, shipped_by, visit, walk

__all__ = ["FAULTS", "Fault", "Finding", "Kit", "shipped_by", "visit", "walk"]

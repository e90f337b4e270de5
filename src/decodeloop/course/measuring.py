"""What notebooks measure time with; it stands in the room of costs, which needs it too."""

from decodeloop.cost.timing import fitted_exponent, fresh_mib, median_seconds

__all__ = ["fitted_exponent", "fresh_mib", "median_seconds"]

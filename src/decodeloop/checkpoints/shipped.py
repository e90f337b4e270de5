"""The models that come with the course itself, as hub folders inside the package."""

from __future__ import annotations

from pathlib import Path

# 0.5 million parameters, trained on Shakespeare's plays and never quantized: see its README.md.
SHIPPED = {"small": Path(__file__).parent / "small"}

"""Requests that arrive and are served, drawn at random, for the tests of what users wait for."""

import numpy as np
import torch
from hypothesis import strategies as st


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def traces(draw, most=30):
    """Arrivals in order, and a service time for each."""
    services = draw(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=most))
    gaps = draw(st.lists(st.floats(0.0, 5.0), min_size=len(services), max_size=len(services)))
    return list(np.cumsum(gaps)), services


def exponential(count, mean, seed):
    """Service times of exponential distribution."""
    uniform = torch.rand(count, dtype=torch.float64, generator=seeded(seed))
    return (-mean * torch.log1p(-uniform)).tolist()

"""For tests and notebooks alike: what the terminal of whoever runs them prefers is left out, the
guards around notebooks are there, and what takes longest begins first."""

import os

from decodeloop import nbguards

for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

# Several files are run at a time, each by one process, in this order. What is not named follows,
# in many small files: so all processes end at nearly the same time.
FIRST = (
    "tests/exercises/test_exercises.py",
    "tests/checkpoints/test_parity.py",
    "tests/test_pretend_gpu.py",
    "tests/attacks/",
    "notebooks/",
)


def pytest_configure(config):
    """Where the package was installed before it had the plugin, pytest knows nothing of it."""
    if not config.pluginmanager.has_plugin("nbguards"):
        config.pluginmanager.register(nbguards, "nbguards")


def turn(item):
    """The place of what a test belongs to."""
    return next((n for n, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST))


def pytest_collection_modifyitems(items):
    items.sort(key=turn)

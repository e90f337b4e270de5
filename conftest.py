"""For tests and notebooks alike: what the terminal of whoever runs them prefers is left out."""

import os

for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

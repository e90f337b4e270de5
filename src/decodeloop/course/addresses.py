"""Where the project is hosted, said once: `Repository` in pyproject's `[project.urls]`.

Badges, and the buttons that open a lesson on somebody else's machine, are made from it. Until it is
set there are none, since they would lead nowhere.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
SHIELDS = "https://img.shields.io/badge"
COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
BINDER_BADGE = "https://mybinder.org/badge_logo.svg"
FIRST_LESSON = "00_start_here"


def repository(root: Path) -> str | None:
    """The owner and name of the project on GitHub, where Colab and Binder find it; None if it is
    hosted nowhere, or elsewhere."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return None
    urls = tomllib.loads(path.read_text("utf-8")).get("project", {}).get("urls", {})
    found = GITHUB.fullmatch(urls.get("Repository", ""))
    return f"{found[1]}/{found[2]}" if found else None


def colab(hosted: str, lesson: str) -> str:
    """The address that opens the lab edition of a lesson on Colab."""
    return (
        f"https://colab.research.google.com/github/{hosted}/blob/main/notebooks/lab/{lesson}.ipynb"
    )


def binder(hosted: str, lesson: str) -> str:
    """The address that opens it on Binder, in the work folder that `postBuild` makes."""
    return f"https://mybinder.org/v2/gh/{hosted}/HEAD?urlpath=lab/tree/work/{lesson}.ipynb"


def badges(root: Path) -> str:
    """The README's row of badges, as Markdown; nothing where the project is hosted nowhere."""
    hosted = repository(root)
    if hosted is None:
        return ""
    home = f"https://github.com/{hosted}"
    tests = f"{home}/actions/workflows/tests.yml"
    row = [
        badge("Tests", f"{tests}/badge.svg", tests),
        badge("Python 3.11 or newer", f"{SHIELDS}/python-3.11%2B-blue", f"{home}#two-commands"),
        badge("Apache License 2.0", f"{SHIELDS}/license-Apache--2.0-blue", "LICENSE"),
        badge("Open lesson 00 in Colab", COLAB_BADGE, colab(hosted, FIRST_LESSON)),
        badge("Open lesson 00 in Binder", BINDER_BADGE, binder(hosted, FIRST_LESSON)),
    ]
    return "\n".join(row) + "\n"


def badge(words: str, picture: str, leads_to: str) -> str:
    return f"[![{words}]({picture})]({leads_to})"

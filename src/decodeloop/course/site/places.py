"""Where the project lives, and where its notebooks can be opened: said once, in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

GITHUB = "https://github.com/"
COLAB = "https://colab.research.google.com/github"
BINDER = "https://mybinder.org/v2/gh"
BRANCH = "main"


def repository(root: Path) -> str:
    """The address under ``[project.urls] Repository``; empty where none is set."""
    data = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    return data["project"].get("urls", {}).get("Repository", "").rstrip("/")


def slug(address: str) -> str:
    """``owner/name`` of an address on GitHub, which Colab and Binder ask for; empty of others.

    >>> slug("https://github.com/someone/decodeloop.git")
    'someone/decodeloop'
    """
    return address.removeprefix(GITHUB).removesuffix(".git") if address.startswith(GITHUB) else ""


def file_address(address: str, path: str) -> str:
    """The page of a file in the repository; empty where the project has no address.

    >>> file_address("https://github.com/someone/decodeloop", "LICENSE")
    'https://github.com/someone/decodeloop/blob/main/LICENSE'
    """
    return f"{address.removesuffix('.git')}/blob/{BRANCH}/{path}" if address else ""


def lesson_links(name: str, address: str) -> str:
    """In Markdown: the lab edition to download, and where it can be opened without installing."""
    lab = f"notebooks/lab/{name}.ipynb"
    links = [f"{{download}}`Download the lab notebook <../lab/{name}.ipynb>`"]
    if at := slug(address):
        links.append(f"[Open in Colab]({COLAB}/{at}/blob/{BRANCH}/{lab})")
        links.append(f"[Open in Binder]({BINDER}/{at}/{BRANCH}?urlpath=lab/tree/{lab})")
    return " · ".join(links)


__all__ = ["file_address", "lesson_links", "repository", "slug"]

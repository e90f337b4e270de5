"""The README as a page of the site: its links lead to pages, its pictures lie beside them."""

from __future__ import annotations

import re
from collections.abc import Callable

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
BADGE = re.compile(r"\[?!\[[^\]]*\]\(https?://[^)]*\)(?:\]\([^)]*\))?[ \t]*")
HTML_IMAGE = re.compile(r'(<img\b[^>]*\bsrc=")([^"]+)(")')
FOREIGN = re.compile(r'<img\b[^>]*\bsrc="https?://[^"]*"[^>]*>')


def readme_page(text: str, address_of: Callable[[str], str]) -> tuple[str, list[str]]:
    """The README for the site, and the pictures that it shows, by their paths in the checkout.

    Links to notebooks and to the cheat-sheet become links to their pages, links to other files
    lead to the repository, or are plain words where `address_of` knows none. Pictures of other
    servers (badges) are left out.

    >>> readme_page("[00](notebooks/00_a.ipynb), ![Bars](notebooks/a.png)", lambda path: "")
    ('[00](lessons/00_a.ipynb), ![Bars](pictures/a.png)', ['notebooks/a.png'])
    """
    pictures: list[str] = []

    def image(match: re.Match[str]) -> str:
        pictures.append(match[2])
        return f"![{match[1]}]({shown_at(match[2])})"

    def html_image(match: re.Match[str]) -> str:
        pictures.append(match[2])
        return match[1] + shown_at(match[2]) + match[3]

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        to = page_of(target) or address_of(target.removeprefix("./"))
        return f"[{words}]({to})" if to else words

    text = FOREIGN.sub("", BADGE.sub("", text))
    text = LINK.sub(link, text)
    return HTML_IMAGE.sub(html_image, IMAGE.sub(image, text)), pictures


def shown_at(path: str) -> str:
    return f"pictures/{path.rsplit('/', 1)[-1]}"


def page_of(target: str) -> str:
    """Where a link of the README leads on the site; empty where the site has no such page."""
    if "://" in target or target.startswith(("#", "mailto:")):
        return target
    path, _, place = target.removeprefix("./").partition("#")
    if match := re.fullmatch(r"notebooks/(\w+)\.ipynb", path):
        path = f"lessons/{match[1]}.ipynb"
    elif path == "notebooks/cheat-sheet.md":
        path = "cheat-sheet.md"
    else:
        return ""
    return f"{path}#{place}" if place else path


__all__ = ["readme_page"]

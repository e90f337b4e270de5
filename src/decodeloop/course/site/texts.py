"""Texts of the checkout as pages: their links lead to pages, their pictures lie beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath, relpath

WORDS = r"(?:[^\[\]]|\[[^\[\]]*\])*"  # they may hold brackets of their own: q.shape[-2]
LINK = re.compile(rf"(?<!!)\[((?:[^\[\]]|!\[{WORDS}\]\([^)]*\)|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
IMAGE = re.compile(rf"!\[({WORDS})\]\(([^)\s]+)\)")
BADGE = re.compile(rf"\[?!\[{WORDS}\]\(https?://[^)]*\)(?:\]\([^)]*\))?[ \t]*")
HTML_IMAGE = re.compile(r'(<img\b[^>]*\bsrc=")([^"]+)(")')
FOREIGN = re.compile(r'<img\b[^>]*\bsrc="https?://[^"]*"[^>]*>')
PICTURES = "pictures"  # the folder of the site


@dataclass(frozen=True)
class Text:
    """A Markdown file that becomes a page.

    Args:
        path: where it lies in the checkout, such as ``docs/using.md``.
        page: where it lies among the sources of the site.
        pages: path in the checkout → path of its page, of all that the site shows.
        address_of: the address of any other file of the checkout; empty where it has none.
    """

    path: str
    page: str
    pages: Mapping[str, str]
    address_of: Callable[[str], str]
    pictures: list[str] = field(default_factory=list)  # that it showed, by their paths

    def shown(self, text: str) -> str:
        """The text for the site. A link to a file that is no page leads to its address, or is plain
        words; pictures of other servers (badges) are left out."""
        text = FOREIGN.sub("", BADGE.sub("", text))
        text = LINK.sub(self._link, text)
        return HTML_IMAGE.sub(self._html_image, IMAGE.sub(self._image, text))

    def _link(self, match: re.Match[str]) -> str:
        words, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        path, _, place = target.partition("#")
        path = self._in_checkout(path)
        to = self._from_here(self.pages[path]) if path in self.pages else self.address_of(path)
        return f"[{words}]({to}{'#' * bool(place)}{place})" if to else words

    def _image(self, match: re.Match[str]) -> str:
        return f"![{match[1]}]({self._picture(match[2])})"

    def _html_image(self, match: re.Match[str]) -> str:
        return match[1] + self._picture(match[2]) + match[3]

    def _picture(self, target: str) -> str:
        path = self._in_checkout(target)
        self.pictures.append(path)
        return self._from_here(join(PICTURES, basename(path)))

    def _in_checkout(self, target: str) -> str:
        return normpath(join(dirname(self.path), target))

    def _from_here(self, page: str) -> str:
        return relpath(page, dirname(self.page) or ".")


__all__ = ["PICTURES", "Text"]

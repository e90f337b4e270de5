"""Where a lesson can be had: to download, and where it opens without installing."""

from __future__ import annotations

from decodeloop.course.addresses import binder, colab

BRANCH = "main"


def file_address(hosted: str | None, path: str) -> str:
    """The page of a file of the checkout in the repository; empty where it is hosted nowhere.

    >>> file_address("someone/decodeloop", "LICENSE")
    'https://github.com/someone/decodeloop/blob/main/LICENSE'
    """
    return f"https://github.com/{hosted}/blob/{BRANCH}/{path}" if hosted else ""


def lesson_links(name: str, hosted: str | None, exercises: bool) -> str:
    """In Markdown: the lab edition to download, the buttons of a project that is hosted, and, where
    the lesson has exercises, the mistakes that are known of them."""
    links = [f"{{download}}`Download the lab notebook <../lab/{name}.ipynb>`"]
    if hosted:
        links.append(f"[Open in Colab]({colab(hosted, name)})")
        links.append(f"[Open in Binder]({binder(hosted, name)})")
    if exercises:
        links.append(f"[Mistakes that check knows](../bugs/{name}.md)")
    return " · ".join(links)


__all__ = ["file_address", "lesson_links"]

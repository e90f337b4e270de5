"""The check of the site fails on everything that it is there for: pages that are broken on purpose.

It needs node, what `make site` fetches with it, and Chromium; where they lack it is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict

import pytest

from decodeloop.course.building import project_root

ROOT = project_root()
CHECK = ROOT / "tools" / "site" / "check.mjs"
MODULES = ROOT / "build" / "site-tools" / "node_modules"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">{head}</head>
<body><main><h1 id="top">A page</h1>{body}</main></body></html>"""
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
WIDE = '<div style="width: 900px">wide</div>'
GOOD = f"""<p>Plain words, <a href="good.html#top">a place</a>, <a href="https://example.com">another
server</a>. <img src="{DOT}" alt="A black dot"> <code>\\frac in code</code> <span class="math"><span
class="katex">x</span></span></p><details><summary>More</summary><p>Words.</p></details>"""
BROKEN = {  # page → head, body, the kinds of findings
    "good": ("", GOOD, set()),
    "asks": ('<script src="https://example.com/a.js"></script>', "", {"request"}),
    "style": ('<link rel="stylesheet" href="gone.css">', "", {"request"}),
    "script": ("", "<script>throw new Error('no')</script>", {"error"}),
    "raw": ("", '<p><span class="math notranslate">x</span></p>', {"formula"}),
    "dollars": ("", "<p>As $$x^2$$ says.</p>", {"formula"}),
    "failed": ("", '<p><span class="katex-error">\\fra</span></p>', {"formula"}),
    "image": ("", '<p><img src="gone.png" alt="A picture"></p>', {"image", "request"}),
    "words": ("", f'<p><img src="{DOT}" alt="dot.png"></p>', {"alt"}),
    "wordless": ("", f'<p><img src="{DOT}"></p>', {"alt", "axe-light", "axe-dark"}),
    "file": ("", '<p><a href="gone.html">a page</a></p>', {"link"}),
    "place": ("", '<p><a href="good.html#gone">a place</a></p>', {"link"}),
    "wide": ("", WIDE, {"scroll"}),
    "hidden": ("", f"<details><summary>More</summary>{WIDE}</details>", {"scroll"}),
    "pale": ("<style>[data-theme=light] p { color: #bbb }</style>", "<p>Pale.</p>", {"axe-light"}),
    "dark": (
        "<style>[data-theme=dark] body { background: #000; color: #fff } "
        "[data-theme=dark] p { color: #333 }</style>",
        "<p>Dark.</p>",
        {"axe-dark"},
    ),
    "search": ("", '<div id="search-results"></div>', {"search"}),
}


def checked(folder, *options):
    """What the check says of a site, and its exit status."""
    if shutil.which("node") is None or not (MODULES / ".installed").exists():
        pytest.skip("node, or what it needs, is not there: `make site` fetches it")
    command = ["node", str(CHECK), str(folder), "--modules", str(MODULES), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "no Chromium was found" in ended.stderr:
        pytest.skip("there is no Chromium")
    return ended


def write(folder, *names):
    for name in names:
        head, body, _ = BROKEN[name]
        (folder / f"{name}.html").write_text(PAGE.format(head=head, body=body), "utf-8")


def test_each_way_in_which_a_page_can_be_broken_is_found_and_no_other(tmp_path):
    write(tmp_path, *BROKEN)
    ended = checked(tmp_path, "--patience", "2")
    assert ended.returncode == 1, ended.stderr
    found = defaultdict(set)
    for line in ended.stdout.splitlines()[:-1]:
        page, kind, _ = line.split(": ", 2)
        found[page.removesuffix(".html")].add(kind)
    assert {name: found[name] for name in BROKEN} == {name: ks for name, (*_, ks) in BROKEN.items()}


def test_a_good_site_passes(tmp_path):
    write(tmp_path, "good")
    ended = checked(tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "1 pages, 0 findings\n"), ended.stderr


def test_no_site_is_said_in_a_sentence(tmp_path):
    ended = checked(tmp_path / "none")
    assert ended.returncode == 2
    assert "run 'make site' first" in ended.stderr

"""Formulas as HTML, set by KaTeX while the site is built: a page needs no script for them.

One node process takes a formula a line, so nothing has to be waited for but its answer. This is an
extension of Sphinx, too, which is imported only where it is one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from decodeloop.errors import UserError

SCRIPT = Path("tools", "site", "formulas.mjs")  # in the checkout, where the site is built
MODULES = "build/site-tools/node_modules"  # what `make site` fetches


class Typesetter:
    """KaTeX, in a process that lives until it is closed."""

    def __init__(self, script: Path, modules: Path) -> None:
        if not (modules / "katex").is_dir():
            raise UserError(f"{modules} has no KaTeX: run 'make site', which fetches it.")
        self.process = subprocess.Popen(
            ["node", str(script), str(modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def html(self, latex: str, display: bool = False) -> str:
        """A formula as HTML, with MathML for those who listen; `display` is one on its own lines.

        Raises:
            UserError: KaTeX can't set it, or has ended.
        """
        asked, answers = self.process.stdin, self.process.stdout
        assert asked is not None and answers is not None
        try:
            asked.write(json.dumps({"latex": latex, "display": display}) + "\n")
            asked.flush()
            answer = json.loads(answers.readline())
        except (OSError, ValueError):
            raise UserError("KaTeX has ended: look at what node said, and build again.") from None
        if "error" in answer:
            raise UserError(f"{latex!r} is no formula: {answer['error']}.")
        return answer["html"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)


def setup(app: Any) -> dict[str, Any]:
    """What Sphinx calls: from here on formulas are set by KaTeX. One that can't be is a warning."""
    from docutils.nodes import SkipNode
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    running: list[Typesetter] = []

    def written(translator: Any, node: Any, tag: str, display: bool) -> None:
        if not running:
            running.append(Typesetter(SCRIPT, Path(app.config.formulas_modules)))
        latex = node.astext()
        try:
            html = running[0].html(latex, display)
        except UserError as error:
            logger.warning(str(error), location=node)
            html = translator.encode(latex)
        start = translator.starttag(node, tag, "", CLASS="math notranslate nohighlight")
        translator.body.append(f"{start}{html}</{tag}>")
        raise SkipNode

    def inline(translator: Any, node: Any) -> None:
        written(translator, node, "span", display=False)

    def on_its_own(translator: Any, node: Any) -> None:
        written(translator, node, "div", display=True)

    def finished(app: Any, exception: Any) -> None:
        while running:
            running.pop().close()

    app.add_config_value("formulas_modules", MODULES, "html")
    app.add_html_math_renderer("katex", (inline, None), (on_its_own, None))
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": False}


__all__ = ["Typesetter", "setup"]

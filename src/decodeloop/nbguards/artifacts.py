"""A notebook that failed, with the outputs that its cells gave until then."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any


def keep_executed(item: Any, folder: Path) -> Path:
    """Write the notebook of a failing cell to a folder, as far as it was executed; its path."""
    import nbformat

    notebook = copy.deepcopy(item.parent.nb)
    own = {other.cell_num: other for other in item.session.items if other.parent is item.parent}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells):
        ran = own.get(number)
        cell.outputs = list(getattr(ran, "test_outputs", None) or ())
    notebook.metadata["nbguards_failed"] = item.name
    folder.mkdir(parents=True, exist_ok=True)
    start = Path(item.config.rootpath)
    path = Path(item.parent.path)
    name = path.relative_to(start) if path.is_relative_to(start) else Path(path.name)
    target = folder / "__".join(name.parts)  # two folders may have notebooks of one name
    nbformat.write(notebook, target)
    return target.resolve()


__all__ = ["keep_executed"]

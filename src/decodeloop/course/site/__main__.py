"""`python -m decodeloop.course.site FOLDER`: write the site's sources there; `make site` does."""

from __future__ import annotations

import sys
from pathlib import Path

from decodeloop.course.building import project_root
from decodeloop.course.site.preparing import prepare
from decodeloop.errors import UserError


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m decodeloop.course.site FOLDER")
    try:
        names = prepare(project_root(), Path(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
    print(f"sources of {len(names)} lessons in {sys.argv[1]}")


if __name__ == "__main__":
    main()

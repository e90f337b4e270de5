"""What stands on the stick for those who open it: a page, and a script for each kind of system."""

from __future__ import annotations

from collections.abc import Sequence

from decodeloop.course.bundling import Target

SHELL = """#!/bin/sh
# The course, installed from this folder alone: sh install.sh [WHERE]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
where=${1:-decodeloop-course}
python=${PYTHON:-python3}
case "$(uname -s)" in Darwin) system=macos;; *) system=linux;; esac
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
wheels="$here/wheels/$system-$version"
if ! test -d "$wheels"; then
  echo "this stick has nothing for $system and Python $version, but for:" >&2
  ls "$here/wheels" >&2
  echo "choose a Python by PYTHON=python3.11 sh install.sh" >&2
  exit 1
fi
mkdir -p "$where"
cp -R "$here/course/." "$where/"
"$python" -m venv "$where/.venv"
"$where/.venv/bin/python" -m pip install --quiet --no-index --find-links "$wheels" \\
  --requirement "$here/locks/$system-$version.txt" decodeloop
cd "$where"
.venv/bin/decodeloop fetch --from "$here"/model/*
.venv/bin/decodeloop doctor
echo "Ready. Start with: cd $where && .venv/bin/decodeloop lab"
"""

POWERSHELL = """# The course, installed from this folder alone: .\\install.ps1 [-Where FOLDER]
param([string]$Where = "decodeloop-course", [string]$Python = "python")
$ErrorActionPreference = "Stop"
$here = Split-Path -Parent $MyInvocation.MyCommand.Path
$version = & $Python -c "import sys; print('%d.%d' % sys.version_info[:2])"
$wheels = Join-Path $here "wheels\\windows-$version"
if (-not (Test-Path $wheels)) {
  Write-Error "this stick has nothing for Windows and Python ${version}: choose another by -Python"
}
New-Item -ItemType Directory -Force $Where | Out-Null
Copy-Item -Recurse -Force (Join-Path $here "course\\*") $Where
& $Python -m venv (Join-Path $Where ".venv")
$bin = Join-Path $Where ".venv\\Scripts"
& "$bin\\python.exe" -m pip install --quiet --no-index --find-links $wheels `
  --requirement (Join-Path $here "locks\\windows-$version.txt") decodeloop
if ($LASTEXITCODE) { exit $LASTEXITCODE }
$model = (Get-ChildItem (Join-Path $here "model"))[0].FullName
Set-Location $Where
& ".venv\\Scripts\\decodeloop.exe" fetch --from $model
& ".venv\\Scripts\\decodeloop.exe" doctor
Write-Output "Ready. Start with: cd $Where; .venv\\Scripts\\decodeloop lab"
"""


def start_page(made: Sequence[Target], size: int) -> str:
    """The one page to read first."""
    lines = "\n".join(f"- {target.platform}, Python {target.python}" for target in made)
    return f"""# How to start

Everything is in this folder, {size / 1e6:,.0f} MB: no network is needed, now or later.

1. Linux and macOS: open a terminal here and run `sh install.sh`. Windows: open PowerShell here and
   run `powershell -ExecutionPolicy Bypass -File install.ps1`.
2. Go to the folder `decodeloop-course` that it has made, and run `.venv/bin/decodeloop lab`
   (Windows: `.venv\\Scripts\\decodeloop lab`). JupyterLab opens at lesson 00.

It needs a Python of one of these, which is not in this folder:

{lines}

Whether the copy is whole, `sha256sum --check SHA256SUMS` tells (macOS: `shasum -a 256 -c`).
"""


__all__ = ["POWERSHELL", "SHELL", "start_page"]

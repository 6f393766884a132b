"""What is installed with virtue: known faults of it, and licences. `make audit`; needs the network.

Installs virtue and then each extra into an environment of its own, lists the licences of what came with each,
and asks PyPI about known vulnerabilities of all of it. Exit status 1 if there are some, or if a package could
not be looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = "virtue-search"
TORCH = "torch==2.13.0"
"""As in the Makefile: a range may draw several gigabytes of CUDA libraries."""
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|BSL|CNRI|0BSD|CC0", re.I)
COPYLEFT = re.compile(r"GPL|GNU|MPL|Mozilla|EPL|EUPL|CDDL", re.I)


def run(*command: object) -> str:
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main(python: Path) -> int:
    """Audits the environment of this interpreter, which must be empty but for pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    constraints = python.parent / "constraints.txt"
    constraints.write_text(f"{TORCH}\n")
    known: set[str] = set()
    for extra in ("", *project["optional-dependencies"]):
        wanted = f".[{extra}]" if extra else "."
        run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wanted)
        packages = licences(python)
        print(f"\n{wanted}")
        for name in sorted(packages.keys() - known, key=str.lower):
            version, licence = packages[name]
            print(f"  {name} {version}: {licence}{remark(licence)}")
        known |= packages.keys()
    print(flush=True)
    return find_vulnerabilities(packages)


def licences(python: Path) -> dict[str, tuple[str, str]]:
    """Returns version and licence of each package, by name."""
    listed = run(
        Path(sys.executable).parent / "pip-licenses", f"--python={python}", "--from=mixed", "--format=json"
    )
    found = {
        entry["Name"]: (entry["Version"], " ".join(entry["License"].split())) for entry in json.loads(listed)
    }
    return {name: entry for name, entry in found.items() if name != OURS}


def remark(licence: str) -> str:
    if COPYLEFT.search(licence):
        return "   <- copyleft: used as it is, never copied"
    return "" if PERMISSIVE.search(licence) else "   <- not known: look at it"


def find_vulnerabilities(packages: dict[str, tuple[str, str]]) -> int:
    """Prints known vulnerabilities. Returns 1 if there are some, or one package could not be looked up."""
    pins = [f"{name}=={version.split('+')[0]}\n" for name, (version, _) in packages.items()]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(pins))
        audit = Path(sys.executable).parent / "pip-audit"
        options = ("--no-deps", "--disable-pip", "--strict", "--progress-spinner", "off")
        return subprocess.run([audit, "--requirement", requirements, *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""The programs of the pages pass `mypy --strict`, as a typed back end would check them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.test_docs import PAGES, blocks

SETTINGS = "".join(
    f"[mypy-{package}.*]\nfollow_imports = skip\n\n"
    for package in ("torch", "transformers", "huggingface_hub", "sqlalchemy", "pyarrow", "rich", "typer")
)
"""What the programs see nothing of, and what takes a minute to check. Of our own code nothing is judged."""


def test_the_programs_of_the_pages_pass_mypy_strict(tmp_path: Path) -> None:
    for page in PAGES:
        for number, program in enumerate(blocks(page, "python")):
            (tmp_path / f"{page.stem.lower()}_{number}.py").write_text(program)
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nfollow_imports = silent\n\n{SETTINGS}[mypy-faiss.*]\nignore_missing_imports = true\n"
    )
    (tmp_path / "reveals_0.py").write_text(
        "import numpy as np\n"
        "import numpy.typing as npt\n"
        "from virtue import Embedder, Find, Hit, Library, Photo, Progress, Report, Similar\n"
        "embedder = Embedder.from_pretrained()\n"
        "rows: npt.NDArray[np.float32] = embedder.encode(['a'], batch_size=2)\n"
        "query: npt.NDArray[np.float32] = embedder.encode_query('a', find='photos')\n"
        "find: Find = 'photos'\n"
        "def tell(progress: Progress) -> None: ...\n"
        "with Library() as library:\n"
        "    report: Report = library.index('photos', progress=tell)\n"
        "    hits: list[list[Hit]] = library.search_many(['a'], find=find, top=3)\n"
        "    groups: list[list[Similar]] = library.similar()\n"
        "    photos: list[Photo] = library.photos('rating > 3', order='-taken')\n"
    )
    programs = sorted(path.name for path in tmp_path.glob("*_*.py"))
    assert len(programs) > 10
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "mypy.ini", *programs],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

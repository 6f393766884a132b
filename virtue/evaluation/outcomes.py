"""What was computed before: kept by model, settings and data, so that a run goes on where it ended.

One file for each model and its settings, in JSON lines: the digest of a row's data, and its numbers. Nothing
of a picture or a text is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import platformdirs

from virtue.evaluation.findings import Tell

FORMAT = 1
"""To be raised when the same data give other numbers."""


def default_folder() -> Path:
    return Path(platformdirs.user_cache_dir("virtue", appauthor=False)) / "evaluation"


class Outcomes:
    """Numbers by the digest of what they were computed from. `folder` None: none are kept."""

    def __init__(self, folder: Path | None, *key: object) -> None:
        self._file = None if folder is None else folder / f"{digest_of(FORMAT, *key)}.jsonl"
        self._known: dict[str, list[float]] = {}
        if self._file is not None and self._file.exists():
            with self._file.open(encoding="utf-8", errors="replace") as lines:
                self._known = dict(filter(None, map(_parse, lines)))

    def get(self, digest: str) -> list[float] | None:
        return self._known.get(digest)

    def add(self, numbers: Mapping[str, Sequence[float]]) -> None:
        """Keeps numbers: in one write, so that another process may do the same."""
        self._known |= {digest: list(values) for digest, values in numbers.items()}
        if self._file is None or not numbers:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # The line break before: a run that was killed may have left half a line.
        lines = "".join(f"\n{json.dumps([digest, list(values)])}" for digest, values in numbers.items())
        with self._file.open("ab", buffering=0) as file:
            file.write(f"{lines}\n".encode())

    def fill(
        self,
        keys: Sequence[object],
        compute: Callable[[list[int]], Iterator[Sequence[float]]],
        tell: Tell | None = None,
    ) -> list[list[float]]:
        """Returns the numbers of each key, in order. What is not known is computed, and kept as it comes.

        Args:
            keys: what the numbers are computed from, values that JSON can hold.
            compute: called with the places of what is not known, if there is any; yields its numbers.
            tell: called with how many are known, and of how many.
        """
        digests = [digest_of(key) for key in keys]
        todo = [place for place, digest in enumerate(digests) if digest not in self._known]
        if todo:
            done = len(keys) - len(todo)
            for place, numbers in zip(todo, compute(todo), strict=True):
                self.add({digests[place]: numbers})
                done += 1
                if tell:
                    tell(done, len(keys))
        return [self._known[digest] for digest in digests]


def _parse(line: str) -> tuple[str, list[float]] | None:
    try:
        digest, values = json.loads(line)
        return str(digest), [float(value) for value in values]
    except (ValueError, TypeError):
        return None  # half a line, or an empty one


def digest_of(*parts: object) -> str:
    """Computes the SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def digest_of_code() -> str:
    """Computes the SHA-256 of virtue's own code, on which figures of whole searches depend."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return digest_of([(file.relative_to(package).as_posix(), file.read_text("utf-8")) for file in files])


@lru_cache(maxsize=4096)
def _digest_of_file(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_file(path: Path) -> str:
    """Computes the SHA-256 of a file's content."""
    status = path.stat()
    return _digest_of_file(path, status.st_size, status.st_mtime_ns)

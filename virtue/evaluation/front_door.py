"""Photos indexed and searched as users do it: by `virtue index` and `virtue search --json`, with defaults."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtue.embedder import Embedder
from virtue.errors import InputError, VirtueError
from virtue.escaping import escape_stderr
from virtue.evaluation.outcomes import Outcomes, digest_of, digest_of_code, digest_of_file

DATA = Path(__file__).parent / "data"
"""What was labelled by hand: boxes, and the photos that queries should find, by name."""

MOST_CAPTIONS = 100_000


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """A library of copies of photos. They lie under their numbers, since searches look for words in names."""

    library: str
    copies: dict[Path, str]
    """Path of a copy -> name of the photo."""

    def search(
        self, words: str, top: int = 10, photo: str | None = None, options: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Searches for words, in one photo if one is named. Hits are what `--json` prints, with `photo`, the
        name.

        Raises:
            VirtueError: the search failed; in its own words.
        """
        where: tuple[str, ...] = ()
        if photo is not None:
            path = next(copy for copy, name in self.copies.items() if name == photo)
            quoted = os.fspath(path).replace("'", "''")
            where = ("--where", f"path = '{quoted}'")
        return self._hits("--text", words, *where, *options, "--top", str(top))

    def search_picture(self, file: Path, top: int) -> list[int]:
        """Searches with a picture, and lists the places of the photos found.

        Raises:
            VirtueError: the search failed; in its own words.
        """
        places = {copy: place for place, copy in enumerate(self.copies)}
        return [places[Path(hit["path"])] for hit in self._hits(os.fspath(file), "--top", str(top))]

    def captions(self) -> dict[str, list[str]]:
        """Lists all captions of each photo that has any.

        Raises:
            VirtueError: a search failed; in its own words.
        """
        every = ("--top", str(MOST_CAPTIONS))
        captions: dict[str, list[str]] = {
            hit["photo"]: [] for hit in self._hits("--where", "caption ~ *", *every)
        }
        if captions:
            for hit in self._hits("--text", "words", "--find", "captions", "--all-regions", *every):
                captions[hit["photo"]].append(hit["caption"])
        return captions

    def _hits(self, *words: str) -> list[dict[str, Any]]:
        answer = run_virtue("search", *words, "--json", "--database", self.library)
        hits = [json.loads(line) for line in answer.splitlines()]
        return [{**hit, "photo": self.copies[Path(hit["path"])]} for hit in hits]


@contextmanager
def indexed(photos: Sequence[Path], model: str = "mini") -> Iterator[FrontDoor]:
    """Indexes copies of photos with a model, and takes all away again at the end.

    Raises:
        VirtueError: indexing failed; in its own words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch).resolve()
        folder, library = place / "photos", str(place / "library")
        folder.mkdir()
        copies = {folder / f"{number}{photo.suffix}": photo for number, photo in enumerate(photos)}
        for copy, photo in copies.items():
            shutil.copyfile(photo, copy)
        run_virtue("index", os.fspath(folder), "--database", library, "--model", model)
        yield FrontDoor(library, {copy: photo.name for copy, photo in copies.items()})


def fingerprint_of(model: str) -> str:
    """Returns the fingerprint of a model by its name.

    Raises:
        VirtueError: there is no such model, or it cannot be loaded.
    """
    return Embedder.from_pretrained(model).fingerprint


def open_outcomes(cache: Path | None, name: str, fingerprint: str) -> Outcomes:
    """Opens what was found through the front door before: by this model, and by virtue as it is now."""
    return Outcomes(cache, name, fingerprint, digest_of_code())


def digest_of_photos(photos: Sequence[Path]) -> str:
    """Computes the SHA-256 of the names and the content of photos, in their order."""
    return digest_of([(photo.name, digest_of_file(photo)) for photo in photos])


def run_virtue(*words: str) -> str:
    """Runs a command of virtue and returns what it prints.

    Raises:
        VirtueError: it failed; in its own words.
    """
    command = [sys.executable, "-m", "virtue", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode > 1:  # 1: nothing found
        raise VirtueError(done.stderr.strip())
    return done.stdout


def read_labels(name: str) -> Any:
    """Reads a file of labels, such as `boxes`."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def check_photos(labelled: set[str], photos: Sequence[Path]) -> None:
    """Checks that all photos are there that labels name.

    Raises:
        InputError: some are not.
    """
    missing = sorted(labelled - {photo.name for photo in photos})
    if missing:
        raise InputError(
            f"{len(missing)} labelled photos are not there, {missing[0]} for one; "
            "virtue.evaluation.real_photos builds the set"
        )


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Makes the parser of a command, whose complaints are safe to look at."""
    escape_stderr()
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def print_answer(
    parser: argparse.ArgumentParser, evaluate: Callable[[argparse.Namespace], dict[str, Any]]
) -> None:
    """Prints as JSON what a command finds, or says in one sentence why it finds nothing."""
    given = parser.parse_args()
    try:
        print(json.dumps(evaluate(given)))
    except VirtueError as error:
        parser.error(str(error))

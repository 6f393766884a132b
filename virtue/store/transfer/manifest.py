"""What travels from one library to another, and the summaries of what was done."""

from __future__ import annotations

from dataclasses import dataclass

from virtue.store.records import EmbeddedPhoto, FileRecord, Root


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """What holds for all photos of an export: the model of their vectors, and the roots."""

    model: str
    fingerprint: str
    dim: int
    roots: tuple[Root, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoExport:
    """A photo with its vectors and its files; those that are `missing` are no longer there."""

    photo: EmbeddedPhoto
    files: tuple[FileRecord, ...]
    missing: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export wrote.

    Attributes:
        photos: how many are in the file.
        rows: how many the file has, one for each region and caption.
        left_out: photos without vectors.
    """

    photos: int
    rows: int
    left_out: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What became of the photos of an export or of another library.

    Attributes:
        photos: new to this library.
        known: in it already, with vectors, and left as they are.
        paths: new to it, of either.
        left_out: photos all of whose paths it has for other photos, or cannot hold.
        forgotten: photos that were forgotten here, and stay so.
    """

    photos: int = 0
    known: int = 0
    paths: int = 0
    left_out: int = 0
    forgotten: int = 0

    def summary(self) -> str:
        """Returns one line, for people."""
        counts = {
            f"{self.photos:,} photo{'s' * (self.photos != 1)} taken": True,
            f"{self.known:,} known already": self.known,
            f"{self.paths:,} new path{'s' * (self.paths != 1)}": self.paths,
            f"{self.left_out:,} left out: their paths hold other photos here, or are too long": self.left_out,
            f"{self.forgotten:,} passed by, as they were forgotten here": self.forgotten,
        }
        return ", ".join(what for what, is_told in counts.items() if is_told)

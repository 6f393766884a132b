"""A folder of photos, a library and a small real model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.indexer.colours import ColourModel
from virtue.indexer import Report, index
from virtue.store import FileState, Snapshot, Store


class Shelf:
    """A folder `photos`, the library that knows it, and the model it is indexed with."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.store = store
        self.model = ColourModel()

    def photo(
        self,
        name: str,
        colour: str | tuple[int, int, int] = "red",
        size: tuple[int, int] = (80, 60),
        **options: object,
    ) -> Path:
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path, **options)
        return path

    def index(self, *paths: Path, **options: object) -> Report:
        """Forgets what the model was asked before."""
        self.model.pictures, self.model.texts = 0, []
        return index(self.store, self.model, paths or [self.photos], **{"workers": 1, **options})

    def files(self) -> dict[str, FileState]:
        with self.store.read() as snapshot:
            return {Path(path.decode()).name: state for path, state in snapshot.files().items()}

    def captions(self) -> set[tuple[str, str, str]]:
        """(name of the photo, source, text)"""
        return {(Path(c.path.decode()).name, c.source, c.text) for c in self.all_captions()}

    def all_captions(self) -> list:
        return self._all(lambda snapshot: snapshot.captions(range(snapshot.row_count("captions"))))

    def regions(self, name: str) -> list:
        found = self._all(lambda snapshot: snapshot.regions(range(snapshot.row_count("regions"))))
        return [region for region in found if Path(region.path.decode()).name == name]

    def _all(self, read: Callable[[Snapshot], list]) -> list:
        with self.store.read() as snapshot:
            return read(snapshot)

"""What all paths of a photo together ask for. A photo is known by its content, so copies share regions
and captions; the settings say what its embedding was made with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from virtue.errors import DamagedError, InputError
from virtue.indexer.annotations import CocoImage
from virtue.indexer.captions import PhotoCaptions
from virtue.indexer.links import LinkRule
from virtue.indexer.metadata_sidecars import MetadataBeside, read_beside
from virtue.indexer.sidecar import read_sidecar
from virtue.indexer.user_annotations import digest
from virtue.indexer.walk import find_text, list_sidecars
from virtue.paths import printable

MAX_FOLDERS = 16
"""Folders whose files are known at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a photo was indexed with: `regions` is the limit of proposals; the others are digests of what
    files gave ("-": nothing, or nobody knows)."""

    regions: int
    annotations: str = "-"
    captions: str = "-"

    def __str__(self) -> str:
        return f"regions={self.regions} annotations={self.annotations} captions={self.captions}"

    @staticmethod
    @lru_cache(maxsize=1000)
    def parse(text: str) -> Settings:
        """Reads stored settings; raises DamagedError if they are none."""
        try:
            values = dict(part.split("=", 1) for part in text.split())
            return Settings(int(values["regions"]), values["annotations"], values["captions"])
        except (ValueError, LookupError):
            raise DamagedError(
                f"the settings of a photo, {text[:100]!r}, cannot be read: verify the library, with repair",
                hint="virtue verify --repair",
            ) from None


class SidecarTexts(NamedTuple):
    """Captions from files beside a photo. `is_complete`: none of these has to be tried again; `faults` are
    sentences on those that could not be read."""

    texts: tuple[str, ...]
    is_complete: bool
    faults: tuple[str, ...]


def are_settings(text: str) -> bool:
    """Returns whether stored settings can be read."""
    try:
        Settings.parse(text)
    except DamagedError:
        return False
    return True


class EmbeddingRequirements:
    """What all paths of a photo require of its embedding. Call `add` for every path before the other
    methods."""

    def __init__(
        self,
        annotated: dict[bytes, CocoImage],
        captioned: dict[bytes, PhotoCaptions],
        link_rule: Callable[[bytes], LinkRule],
    ) -> None:
        self._annotated, self._captioned = annotated, captioned
        self._link_rule = link_rule
        self._regions: dict[bytes, int] = {}
        self._beside: dict[bytes, dict[bytes, None]] = {}
        self._paths: dict[bytes, dict[bytes, None]] = {}
        self._names = lru_cache(maxsize=MAX_FOLDERS)(list_sidecars)

    def add(self, photo: bytes, path: bytes, regions: int, has_sidecar: bool) -> None:
        self._regions[photo] = max(regions, self._regions.get(photo, 0))
        if has_sidecar:
            self._beside.setdefault(photo, {})[path] = None
        if self.mentioned(path):
            self._paths.setdefault(photo, {})[path] = None

    def settings(self, photo: bytes, before: Settings | None) -> Settings:
        """Returns the settings that this photo should be embedded with. What no file of this run mentions
        stays."""
        wanted = replace(before or Settings(0), regions=self._regions[photo])
        annotations, captions = self.annotations(photo), self.captions(photo)
        if annotations:
            wanted = replace(wanted, annotations=digest(annotations))
        if captions:
            wanted = replace(wanted, captions=digest(captions))
        return wanted

    def satisfied(self, photo: bytes, embedded: str | None) -> bool:
        if embedded is None:
            return False
        before = Settings.parse(embedded)
        return self.settings(photo, before) == before

    def annotations(self, photo: bytes) -> list[CocoImage]:
        return [self._annotated[path] for path in self._paths.get(photo, ()) if path in self._annotated]

    def captions(self, photo: bytes) -> list[PhotoCaptions]:
        return [self._captioned[path] for path in self._paths.get(photo, ()) if path in self._captioned]

    def mentioned(self, path: bytes) -> bool:
        """Returns whether a file of this run says something of the photo at this path."""
        return path in self._annotated or path in self._captioned

    def sidecar_texts(self, photo: bytes) -> SidecarTexts:
        """Reads the captions beside any of the photo's paths."""
        texts: dict[str, None] = {}
        faults: list[str] = []
        complete = True
        for path in self._beside.get(photo, ()):
            links = self._link_rule(path)
            beside = find_text(path, links)
            if beside and os.path.islink(beside) and not links.admits(beside):
                faults.append(
                    f"{printable(beside)}: a link that leads out of what is indexed, and is not read"
                )
                complete = False
                continue
            try:
                text = read_sidecar(beside) if beside else None
            except InputError as error:
                faults.append(str(error))
            except OSError as error:
                faults.append(
                    f"{printable(beside or path)}: {error.strerror or error}: its caption is left out"
                )
                complete = False
            else:
                if text:
                    texts[text] = None
        return SidecarTexts(tuple(texts), complete, tuple(faults))

    def paths_beside(self, photo: bytes) -> tuple[bytes, ...]:
        """Returns the paths of a photo that have files beside them."""
        return tuple(self._beside.get(photo, ()))

    def metadata_beside(self, photo: bytes) -> MetadataBeside:
        """Reads the metadata in files beside any of the photo's paths."""
        result = MetadataBeside()
        for path in self._beside.get(photo, ()):
            read_beside(path, self._names(os.path.dirname(path)), self._link_rule(path), result)
        return result

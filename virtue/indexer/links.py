"""Which links below an indexed folder are followed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property

from virtue.paths import is_below


class LinkRule:
    """Links that stay within the indexed folders are followed, those that lead out only if the user said so:
    in photos from elsewhere a link may lead to what nobody meant to index. None is followed to a folder that
    it lies in, nor to one that holds the indexed ones.

    Args:
        folders: the indexed folders that a path lies in, as they are called.
        follow_links: whether links that lead out of them are followed.
    """

    def __init__(self, folders: Iterable[bytes], follow_links: bool = False) -> None:
        self._folders = tuple(folders)
        self._follow_links = follow_links

    @cached_property
    def _real_folders(self) -> tuple[bytes, ...]:
        return tuple(os.path.realpath(folder) for folder in self._folders)

    def admits(self, link: bytes) -> bool:
        """Returns whether this link is followed. What it leads to need not be there."""
        target = os.path.realpath(link)
        if any(is_below(target, folder) for folder in self._real_folders):
            return True  # the walk enters no folder twice
        above = (*self._real_folders, os.path.realpath(os.path.dirname(link)))
        return self._follow_links and not any(is_below(folder, target) for folder in above)

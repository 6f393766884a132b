"""Which store a location means."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from virtue.errors import StoreError
from virtue.location import is_server, split_vectors

if TYPE_CHECKING:
    from virtue.store.store import Store


def open_store(
    location: str | os.PathLike[str],
    *,
    create: bool = False,
    read_only: bool = False,
    vectors_device: str | None = None,
) -> Store:
    """Opens the library at a location: a folder, or a database of PostgreSQL (`postgresql://HOST/DATABASE`),
    perhaps with its vectors in Milvus (`postgresql://HOST/DATABASE?vectors=milvus://HOST:PORT`). Use it as a
    context manager, or close it.

    Args:
        create: make one if there is none.
        read_only: never write, so that network mounts and read-only folders can be used.
        vectors_device: a device of torch, "cuda" or "cuda:1", whose memory holds the vectors (two bytes a
            column) from the first search on. Searches are exact then, whether there is an index or
            not; of most use where many millions of rows are searched often.

    Raises:
        LibraryNotFoundError: there is none, and `create` is False.
        SchemaError: it was written by a newer virtue; or by an older one, and `read_only`.
        DamagedError: its catalogue cannot be read.
        StoreError: it cannot be written to, or lies on a network mount, and `read_only` is False;
            there is no such device.
    """
    if is_server(location):
        if vectors_device is not None:
            raise StoreError("vectors of a library on a server stay there: leave vectors_device out")
        _, elsewhere = split_vectors(str(location))
        if elsewhere:
            from virtue.store.milvus.milvus_store import MilvusStore

            return MilvusStore.open(str(location), create=create, read_only=read_only)
        from virtue.store.postgres.server_store import ServerStore

        return ServerStore.open(str(location), create=create, read_only=read_only)
    from virtue.store.folder_store import FolderStore

    return FolderStore.open(location, create=create, read_only=read_only, vectors_device=vectors_device)

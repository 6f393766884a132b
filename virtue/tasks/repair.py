"""Repairing a library, unless that would lose what cannot be made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from virtue.indexer import index
from virtue.indexer.indexing import require_model
from virtue.indexer.masks import is_encoding
from virtue.indexer.recovery import find_unrecoverable
from virtue.indexer.requirements import are_settings
from virtue.indexer.roots import Options, are_options
from virtue.paths import printable
from virtue.store import Fault
from virtue.store.records import TextChecks

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Store, Writer


def text_checks() -> TextChecks:
    """Returns how to tell whether the texts that the indexer keeps in a catalogue can be read."""
    return TextChecks(are_settings, are_options, is_encoding, Options().to_json())


def repair(store: Store, writer: Writer, embedder: Embedder, faults: Sequence[Fault]) -> Fault | None:
    """Drops what is damaged and embeds the photos concerned anew; returns why nothing was done, if so."""
    if refusal := _refuse(store, embedder, faults):
        return refusal
    writer.repair(text_checks())
    index(store, embedder, writer=writer)
    return None


def _refuse(store: Store, embedder: Embedder, faults: Sequence[Fault]) -> Fault | None:
    """Returns why a repair would lose vectors that cannot be made again; None: it would not."""
    lost = {hash for fault in faults for hash in fault.hashes}
    if not lost:
        return None
    with store.read() as snapshot:
        require_model(snapshot.generation, embedder)
    gone = find_unrecoverable(store, lost, embedder.model.side)
    if not gone:
        return None
    path, reason = gone[0]
    return Fault(
        "photo",
        f"nothing was repaired, since the files of {len(gone)} photos that would lose their vectors "
        f"cannot be read, such as {printable(path)} ({reason}): see to drive and rights, or forget them",
        repairable=False,
    )

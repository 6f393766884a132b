"""What can be wrong with a search before anything is ranked."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Literal, get_args

from virtue.errors import DamagedError, EmptyLibraryError, InputError, ModelMismatchError
from virtue.retrieval.row_search import MinScore
from virtue.store import Generation
from virtue.whole_numbers import read_whole

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.store import Snapshot, Store

Goal = Literal["auto", "regions", "photos", "captions"]
"""What a search finds."""
GOALS: tuple[Goal, ...] = get_args(Goal)


def check_options(find: str, top: int, offset: int, min_score: MinScore = None) -> None:
    """Raises InputError for an option that cannot be."""
    if find not in GOALS:
        raise InputError(f"cannot find {find!r}: choose one of {', '.join(GOALS)}")
    read_whole("top", top, 1)
    read_whole("offset", offset, 0)
    if min_score not in (None, "auto") and not (isinstance(min_score, Real) and min_score == min_score):
        raise InputError(f"the lowest score must be a number, or auto, not {min_score!r}")


def choose_embedder(generation: Generation, embedder: Embedder) -> Embedder:
    """Returns what makes queries for these vectors: the embedder, or what its model has for vectors of an
    earlier version.

    Raises:
        ModelMismatchError: the vectors are of another model.
        DamagedError: they are not as long as those of their model.
    """
    chosen = embedder.for_rows(generation.fingerprint)
    if chosen is not None:
        if generation.dim != chosen.dim:
            raise DamagedError(
                f"the library says that vectors of its model have {generation.dim} dimensions, and they have "
                f"{chosen.dim}: it was tampered with"
            )
        return chosen
    raise ModelMismatchError.of(generation.model, embedder.name)


def check_not_empty(snapshot: Snapshot, store: Store, find: Goal) -> None:
    counts = snapshot.counts()
    if not counts.regions:
        raise nothing_indexed(store)
    if find == "captions" and not counts.captions:
        raise EmptyLibraryError(
            "no photo in this library has a caption: put words into photo.txt beside photo.jpg, into the "
            "photo's metadata, or into a file of captions, and index again",
            hint="virtue index --captions FILE",
        )


def nothing_indexed(store: Store) -> EmptyLibraryError:
    return EmptyLibraryError(
        f"nothing is indexed in the library {store.name}: index a folder of photos",
        hint="virtue index FOLDER",
    )

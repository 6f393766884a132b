"""Every error that virtue raises on purpose. Each message is one sentence that names the thing
and says what to do next.

    VirtueError
    ├── InputError (also ValueError)   what the caller gave cannot be used
    │   ├── PictureError               a picture that cannot be read
    │   │   └── UnreadableError        its file cannot be read now, whatever it holds
    │   └── PromptError                a box, point or mask that does not fit its picture
    ├── ModelError                     a model that is missing or cannot do what is asked
    ├── StoppedError                   the caller's `stop` was set
    ├── InternalError                  a mistake in virtue itself
    ├── ServiceError                   a service that does not answer, or not as it should
    └── StoreError                     a library on disk
        ├── LibraryNotFoundError       there is none here
        ├── EmptyLibraryError          there is one, with nothing in it to search
        ├── LockedError                another process is writing to it
        ├── DamagedError               its files contradict each other
        ├── SchemaError                it was written by a newer virtue
        └── ModelMismatchError         its vectors are of another model
"""

from __future__ import annotations

from virtue.escaping import escape


class VirtueError(Exception):
    """The root of virtue's errors: catching it catches all of them and nothing else. Its sentence is
    escaped, whatever names it quotes.

    Attributes:
        hint: what to type on a command line, such as "virtue index PATH"; None: the sentence says it all.
            The sentence itself speaks to callers in Python.
    """

    def __init__(self, *sentence: object, hint: str | None = None) -> None:
        super().__init__(*(escape(str(part)) for part in sentence))
        self.hint = hint


class InputError(VirtueError, ValueError):
    pass


class PictureError(InputError):
    pass


class UnreadableError(PictureError):
    pass


class PromptError(InputError):
    pass


class ModelError(VirtueError):
    pass


class StoppedError(VirtueError):
    pass


class InternalError(VirtueError):
    pass


class ServiceError(VirtueError):
    pass


class StoreError(VirtueError):
    pass


class LibraryNotFoundError(StoreError):
    pass


class EmptyLibraryError(StoreError):
    pass


class LockedError(StoreError):
    pass


class DamagedError(StoreError):
    pass


class SchemaError(StoreError):
    pass


class ModelMismatchError(StoreError):
    @classmethod
    def of(cls, made_with: str, asked_for: str) -> ModelMismatchError:
        """Says that a library made with one model was opened with another, by their names; the same name:
        another version of it."""
        if made_with == asked_for:
            return cls(
                f"the library holds vectors of another version of the model {made_with!r}: reindex it",
                hint="virtue reindex",
            )
        return cls(
            f"the library holds vectors of the model {made_with!r}, not of {asked_for!r}: use it with "
            "that one, or reindex it with this one",
            hint=f"virtue reindex --model {asked_for}",
        )

"""A bar for commands that work on many things, one after the other."""

from __future__ import annotations

from types import TracebackType


class Bar:
    """A bar on a terminal that says how many are done; silent elsewhere."""

    def __init__(self, quiet: bool, what: str) -> None:
        from virtue.display.console import IndexProgress

        self._progress, self._what = IndexProgress(quiet, what), what

    def __enter__(self) -> Bar:
        self._progress.__enter__()
        return self

    def __call__(self, done: int, total: int) -> None:
        from virtue.indexer import Progress

        self._progress(Progress("indexes", done, total, what=self._what))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)

"""What people see: progress on stderr, results on stdout. To a file or a pipe names go out as they are, to a
terminal escaped."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from virtue.display.streams import note
from virtue.display.wording import count_copies
from virtue.escaping import draw_on, escape
from virtue.paths import printable

if TYPE_CHECKING:
    from rich.console import Console

    from virtue.indexer import Progress, Report
    from virtue.library import IndexOptions, Library
    from virtue.retrieval import Hit
    from virtue.retrieval.similar_group import Similar
    from virtue.retrieval.trial import Trial
    from virtue.store import SearchParams, Snapshot, TuningResult
    from virtue.store.records import ForgottenPhoto


class IndexProgress:
    """A bar on a terminal, with rate, time left and the number of problems; silent elsewhere."""

    def __init__(self, quiet: bool, first: str = "looking for photos") -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._first = first
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> IndexProgress:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            console = Console(file=draw_on(sys.stderr))
            if console.is_dumb_terminal:
                return self
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[problems]}"),
                console=console,
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )
            self._task = self._bar.add_task(self._first, total=None, rate="", problems="")
            self._bar.start()
            self._stderr, sys.stderr = sys.stderr, _AboveTheBar(console, sys.stderr)
        return self

    def __call__(self, progress: Progress) -> None:
        if self._bar is None:
            return
        if progress.stage != self._stage:
            self._bar.reset(self._task)  # or the time left would go by how fast another stage was
            self._stage = progress.stage
        count = progress.problems
        self._bar.update(
            self._task,
            description=escape(progress.what),
            total=progress.total,
            completed=progress.done,
            rate=f"{progress.rate:.1f} photos/s" if progress.rate else "",
            problems=f"{count} problem{'s' * (count != 1)}" if count else "",
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            sys.stderr.flush()
            sys.stderr = self._stderr
            self._bar.stop()
            self._bar = None


class _AboveTheBar(io.TextIOBase):
    """stderr while a bar is shown: what is printed appears above it, escaped."""

    def __init__(self, console: Console, stderr: TextIO) -> None:
        self._console, self._stderr = console, stderr
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._print(line)
        return len(text)

    def flush(self) -> None:
        if self._begun:
            self._print(self._begun)
            self._begun = ""

    @property
    def buffer(self) -> BinaryIO:
        return self._stderr.buffer

    def isatty(self) -> bool:
        return self._stderr.isatty()

    def fileno(self) -> int:
        return self._stderr.fileno()

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(escape(line)), soft_wrap=True)


def print_report(report: Report, *, as_json: bool, quiet: bool) -> None:
    """Prints problems and a summary to stderr; with `as_json` first the summary to stdout, as one object."""
    if as_json:
        fields = {key: value for key, value in asdict(report).items() if key != "problems"}
        fields["problems"] = [{"path": os.fsdecode(p), "reason": reason} for p, reason in report.problems]
        print(json.dumps(fields), flush=True)  # who hears of a run on stderr finds it there
    if quiet:
        return
    for path, reason in report.problems:
        note(f"{printable(path)}: {reason}")
    for warning in report.warnings:
        note(f"warning: {warning}")
    if report.seconds:
        hint = "; virtue status --problems lists them" if report.known_problems else ""
        note(report.summary() + hint)


def watch_and_print(
    library: Library, paths: Sequence[Path], options: IndexOptions, *, as_json: bool, quiet: bool
) -> None:
    """Indexes whatever changes in folders until a signal ends it. Each run that did something is told; only
    the first one has a bar."""
    from virtue.interrupts import ending_by_exit

    progress = IndexProgress(quiet)
    with ending_by_exit(), closing(library.watch(paths, progress=progress, **options)) as reports:
        with progress:
            first = next(reports)
        print_report(first, as_json=as_json, quiet=quiet)
        if not quiet:
            note("watching; Ctrl-C ends it")
        for report in reports:
            if report.has_news or report.warnings:
                print_report(report, as_json=as_json, quiet=quiet)


def print_hits(hits: Sequence[Hit], *, as_json: bool) -> None:
    """Prints hits as JSON lines, or as tab-separated lines of rank, score, sureness, x,y,w,h, path and
    caption."""
    if as_json:
        for hit in hits:
            print(hit.json_line())
        return
    for hit in hits:
        box = ",".join(f"{value:.0f}" for value in hit.box.xywh)
        caption = [" ".join(hit.caption.split())] if hit.caption else []
        if hit.raw_copies:
            caption = [*(caption or [""]), count_copies(hit.raw_copies)]
        print_fields(str(hit.rank), f"{hit.score:.3f}", hit.sureness or "-", box, hit.raw_path, *caption)


def print_paths(hits: Iterable[Hit], end: str) -> None:
    for hit in hits:
        print_fields(hit.raw_path, end=end)


def print_similar(groups: Iterable[Sequence[Similar]], *, as_json: bool) -> int:
    """Prints a tab-separated line for each file: tier, bits that differ, score, path; an empty line between
    groups. The first of a group has no tier (-). With `as_json` it prints an object a line, with the number
    of its group. Returns how many groups there were."""
    number = 0
    for number, group in enumerate(groups, 1):
        if number > 1 and not as_json:
            print()
        for file in group:
            if as_json:
                print(json.dumps({"group": number, **file.as_json()}))
            else:
                print_fields(file.tier or "-", str(file.distance), f"{file.score:.3f}", file.raw_path)
    return number


def print_previews(hits: Sequence[Hit]) -> None:
    from virtue.display.terminal import preview

    if hits and not all([preview(hit) for hit in hits]):
        note("no previews: stdout is not a terminal")


def print_problems(problems: Iterable[tuple[bytes, str]], *, as_json: bool) -> None:
    for path, reason in problems:
        if as_json:
            print(json.dumps({"path": os.fsdecode(path), "reason": reason}))
        else:
            print_fields(path, reason)


def print_missing(paths: Iterable[bytes], *, as_json: bool) -> None:
    for path in paths:
        if as_json:
            print(json.dumps({"path": os.fsdecode(path)}))
        else:
            print_fields(path)


def print_forgotten(photos: Iterable[ForgottenPhoto], *, as_json: bool) -> None:
    for photo in photos:
        if as_json:
            fields = {"path": os.fsdecode(photo.path), "photo": photo.hash.hex(), "at": photo.forgotten_at}
            print(json.dumps(fields))
        else:
            print_fields(photo.path, photo.forgotten_at)


def print_status(library: str, snapshot: Snapshot, *, as_json: bool) -> None:
    from virtue.formats import describe_passed_by
    from virtue.indexer.roots import count_passed_by

    counts, generation = snapshot.counts(), snapshot.generation
    facts = {
        "library": library,
        "model": generation.model if generation else None,
        "fingerprint": generation.fingerprint if generation else None,
        "dim": generation.dim if generation else None,
        **asdict(counts),
        "roots": [os.fsdecode(root.path) for root in snapshot.roots()],
        "passed_by": count_passed_by(snapshot.roots()),
    }
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if name == "roots":
            for root in snapshot.roots():
                print_fields(b"root         " + root.path)
        elif name == "passed_by":
            continue
        elif name == "bytes":
            print_fields(f"{'size':<12} {value / 1e6:.1f} MB")
        elif name == "library":
            print_fields(b"library      " + os.fsencode(library))
        else:
            print_fields(f"{name:<12} {'-' if value is None else value}")
    if not counts.files:
        note("nothing is indexed yet; next: virtue index FOLDER")
    if passed := describe_passed_by(facts["passed_by"]):
        note(f"passed by: {passed}")
    if counts.missing:
        note(f"{counts.missing:,} missing; see which: virtue status --missing")
    if counts.problems:
        note(f"problems: {counts.problems:,}; see which: virtue status --problems")


def print_tunings(tunings: Iterable[TuningResult], *, as_json: bool) -> None:
    """Prints for each kind of query what each setting reaches and costs; `*` marks the one in use. Lines are
    tab-separated: kind, kind of query, nprobe, refine factor, recall, microseconds."""
    for tuning in tunings:
        if as_json:
            print(json.dumps(_tuning_as_json(tuning)))
            continue
        for params in tuning.curve:
            recall = "-" if params.recall is None else f"{params.recall:.3f}"
            cost = "-" if params.microseconds is None else f"{params.microseconds:.0f}"
            mark = " *" if params == tuning.chosen else ""
            settings = params.nprobe, params.refine_factor
            print(tuning.kind, tuning.query_kind, *settings, recall, cost + mark, sep="\t")


def _tuning_as_json(tuning: TuningResult) -> dict[str, Any]:
    """Returns a tuning as JSON, with the keys that the command had from the start."""
    return {
        "kind": tuning.kind,
        "asked": tuning.query_kind,
        "queries": tuning.queries,
        "curve": [_params_as_json(params) for params in tuning.curve],
        "chosen": _params_as_json(tuning.chosen),
    }


def _params_as_json(params: SearchParams) -> dict[str, Any]:
    return {
        "probes": params.nprobe,
        "factor": params.refine_factor,
        "recall": params.recall,
        "microseconds": params.microseconds,
    }


def print_models(models: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    for model in models:
        if as_json:
            print(json.dumps(model))
        else:
            here = "on this machine" if model["installed"] else "to be pulled"
            size = f"{model['size'] / 1e9:.2g} GB"
            print_fields(model["name"], str(model["dim"]), size, model["licence"], model["what"], here)


def print_trial(trial: Trial, top: int, *, as_json: bool) -> None:
    """Prints regions, best first, and to stderr what each step took; with `as_json` all as one object."""
    from virtue.retrieval.hit import xywh

    shown = trial.regions[:top]
    if as_json:
        regions = [
            {"score": round(region.score, 4), "box": xywh(region.box) if region.box else None}
            for region in shown
        ]
        seconds = {name: round(value, 4) for name, value in trial.seconds.items()}
        print(json.dumps({"model": trial.model, "dim": trial.dim, "regions": regions, "seconds": seconds}))
        return
    for region in shown:
        box = ",".join(f"{value:.0f}" for value in region.box.xywh) if region.box else "the whole photo"
        print_fields(f"{region.score:.3f}", box)
    steps = ", ".join(f"{name} {1000 * value:,.0f} ms" for name, value in trial.seconds.items())
    note(f"{trial.model}, {len(trial.regions)} vectors: {steps}")


def print_fields(*fields: str | bytes, end: str = "\n") -> None:
    """Prints a line of tab-separated fields: to a file or a pipe as the bytes that they are, to a terminal
    escaped."""
    if sys.stdout.isatty():
        print(*map(printable, fields), sep="\t", end=end)
    else:
        sys.stdout.flush()  # so that it stays in order with what `print` wrote
        sys.stdout.buffer.write(b"\t".join(map(_encode, fields)) + end.encode())


def _encode(field: str | bytes) -> bytes:
    return field if isinstance(field, bytes) else field.encode("utf-8", "backslashreplace")

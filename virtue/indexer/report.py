"""What indexing tells: how far it is, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from virtue.formats import describe_passed_by


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; what `progress` is called with now and then.

    Attributes:
        stage: "walking": looking for photos. "indexing": embedding them. "reading": the text in them, after
            that. "indexes": what is done for the indexes of a large library.
            "merging": taking photos from another library.
        done: files found while walking, files opened while indexing, photos while reading or merging, else
            rows or queries.
        total: how many there will be; None while walking.
        problems: files that could not be read so far.
        seconds: since the stage began; 0 where that was not measured.
        what: the stage in words, such as "training the index of regions".
    """

    stage: Literal["walking", "indexing", "reading", "indexes", "merging"]
    done: int
    total: int | None
    problems: int = 0
    seconds: float = 0.0
    what: str = ""

    @property
    def rate(self) -> float:
        """Files or photos a second; 0 while it is not known."""
        is_counted = self.stage in ("indexing", "reading", "merging") and self.seconds > 0
        return self.done / self.seconds if is_counted else 0.0


@dataclass(slots=True)
class Report:
    """What a run did.

    Attributes:
        indexed: photos that are new.
        reembedded: photos whose file, settings or model changed.
        recaptioned: photos whose sidecar changed.
        relinked: files whose content was known, under a new path or back again.
        paired: RAW files beside a picture of the same shot, which are one photo with it.
        unchanged: files that are as they were.
        missing: files that were found to be gone.
        elsewhere: files of this run that other processes took on.
        forgotten: files that were passed by, since their photos were forgotten.
        passed_by: how many files of which ending were passed by: videos, and what lacks its reader.
        problems: path and reason of each file below the roots of this run that cannot be indexed, unless an
            earlier run said so.
        known_problems: how many more there are, of which an earlier run said so.
        read: photos whose text was read.
        with_text: how many of these hold text.
        unread: photos whose text could not be read now.
        warnings: sentences on anything else that was left out.
        seconds: how long it took.
    """

    indexed: int = 0
    reembedded: int = 0
    recaptioned: int = 0
    relinked: int = 0
    paired: int = 0
    unchanged: int = 0
    missing: int = 0
    elsewhere: int = 0
    forgotten: int = 0
    passed_by: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    known_problems: int = 0
    read: int = 0
    with_text: int = 0
    unread: int = 0
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def has_news(self) -> bool:
        """Whether the run changed the library, or met a problem that no run met before."""
        done = (
            self.indexed, self.reembedded, self.recaptioned, self.relinked, self.missing, self.elsewhere,
            self.read,
        )  # fmt: skip
        return any(done) or self.unread > 0 or bool(self.problems)

    def summary(self) -> str:
        """Returns one line that says what was done."""
        counts = {
            "indexed": self.indexed,
            "embedded again": self.reembedded,
            "with new captions": self.recaptioned,
            "moved, copied or back again": self.relinked,
            "RAW beside a picture": self.paired,
            "unchanged": self.unchanged,
            "missing": self.missing,
            "taken on by other processes": self.elsewhere,
            "passed by, as they were forgotten": self.forgotten,
            "that could not be read": len(self.problems),
        }
        parts = [f"{count:,} {what}" for what, count in counts.items() if count]
        known = self.known_problems
        behind = f"; {known:,} known problem{'s' * (known != 1)}" if known else ""
        text = f"; {self.with_text:,} of {self.read:,} hold text" if self.read else ""
        passed = describe_passed_by(self.passed_by)
        passed = f"; passed by: {passed}" if passed else ""
        return f"photos: {', '.join(parts) or 'none found'}{passed}{behind}{text}; {self.seconds:.1f} s"

"""The demo behind `make demo`: index a dozen photos, ask six questions, write a report.

Each command is printed before it runs, so that it can be typed again.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = Path("demo.virtue")
REPORT = Path("demo.html")
VIRTUE = Path(sys.executable).with_name("virtue")
PHOTOS = HERE / "photos"
SIGNS = HERE / "signs"
GABLE = HERE / "query" / "gable.jpg"


def run(title: str, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print(f"\n# {title}\n$ {VIRTUE} {shlex.join(words)}", flush=True)
    subprocess.run([VIRTUE, *words], check=True)


def main() -> None:
    shutil.rmtree(LIBRARY, ignore_errors=True)
    library = ("--database", LIBRARY)
    box = ("--box", "250,160,190,190", GABLE)
    run("Index two folders of photos", "index", PHOTOS, SIGNS, *library)
    run("Words: what shows it, or is said to be it?", "search", "a cup of espresso", "--top", 3, *library)
    regions = ("--find", "regions", "--top", 2)
    run("A person, in a box that fits, by pictures alone", "search", "a man", *regions, *library)
    run("A colour", "search", "an orange flower", *regions, *library)
    run("What is written in a photo", "search", "conference centre", "--top", 1, *library)
    run(
        "A box drawn on a photo that is not in the library: where else is this gable?",
        "search", *box, "--top", 3, *library, "--html", REPORT,
    )  # fmt: skip
    run(
        "The same box, with captions as the answer",
        "search",
        *box,
        "--find",
        "captions",
        "--top",
        3,
        *library,
    )
    print(f"\nThe hits of the drawn box, with pictures: {REPORT.absolute()}")
    print(f"\n# Now photos of your own:\n$ {VIRTUE} index ~/Pictures")
    print(f"$ {VIRTUE} search 'a dog' --html hits.html")
    print("\n# And with a box in the hand: a page in the browser, on the library of this demo")
    print(f"$ {VIRTUE} serve --database {shlex.quote(str(LIBRARY))}")


main()

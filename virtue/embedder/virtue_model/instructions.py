"""The words that go with a picture: named templates, and how an item fills them.

A template is what follows the image tokens (or what a text alone becomes). `{text}` stands for the
item's text, `{box}` for its box as a list of floats (x0, y0, x1, y1), `{corners}` for the same as
whole numbers in round brackets, `{point}` for its first positive point; all in pixels of the upright
original. The published strings are copied byte for byte: released weights know no others.
"""

from __future__ import annotations

from virtue.embedder.model import Find
from virtue.errors import InputError
from virtue.geometry import Prompt

_SCENE = "considering both local details and global context in the given image."
_SEGMENTED = f"Find the caption that best describes the segmented object, {_SCENE}"
_BOXED = f"Find the caption that best describes the object in the bounding box, {_SCENE}"

PUBLISHED = {
    "image": "\nRepresent the given image.\n",
    "classification": "\nRepresent the given image for classification\n",
    "question": "\nRepresent the given image with the following question: {text}\n",
    "region": f"\n{_SEGMENTED}\nReferring object bbox: {{box}}",
    "scar": f" \n{_SEGMENTED}\nReferring object bbox: {{box}}",
    "box": f"\n{_BOXED}\nReferring object bbox: {{corners}}",
    "point": f"\n{_SEGMENTED}\nReferring object point: {{point}}",
    "similar": "\nRetrieve an image similar to the given image.\n",
    "find-image": "Retrieve an image that matches: {text}\n",
    "mscoco-t2i": "Find me an everyday image that matches the given caption {text}\n",
    "mscoco-i2t": "\nFind an image caption describing the given everyday image\n",
    "plain": " {text}",
}
"""Training strings ("region"), those of the evaluation ("scar": the stray space is theirs) and of the
demo ("box", "point", "similar", "find-image"); the rest are MMEB's (arXiv 2410.05160). "plain" is how the
published processor joins an image and a text."""

PUBLISHED_DEFAULTS = {
    "image": "image",
    "region": "region",
    "image and text": "plain",
    "region and text": "plain",
    "query text photos": "find-image",
    "query image photos": "similar",
}


def item_kind(has_picture: bool, prompt: Prompt | None, text: str | None) -> str:
    """Returns the kind of an item: "text", "image", "region", or one of the last two with " and text"."""
    if not has_picture:
        return "text"
    kind = "region" if prompt else "image"
    return kind if text is None else f"{kind} and text"


def query_kinds(kind: str, find: Find) -> tuple[str, ...]:
    """Returns the names under which a model may keep a default for a query, the closest first."""
    return f"query {kind} {find}", f"query {kind}", kind


def fill_template(template: str, prompt: Prompt | None, text: str | None, width: int, height: int) -> str:
    """Fills a template with the item's values.

    Raises:
        InputError: it asks for a text that the item does not have.
    """
    if "{text}" in template and text is None:
        raise InputError(f"the instruction {template.strip()!r} asks for a text, and the item has none")
    box = prompt.outline(width, height).corners if prompt else (0.0, 0.0, float(width), float(height))
    point = next(((p.x, p.y) for p in prompt.points if p.positive), None) if prompt else None
    x, y = point or ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    filled = (
        template.replace("{box}", str([float(value) for value in box]))
        .replace("{corners}", str(tuple(int(value) for value in box)))
        .replace("{point}", f"({int(x)}, {int(y)})")
    )
    if text is None:
        return filled
    # The text last: braces of a user's own must stay what they are.
    return filled.replace("{text}", text) if "{text}" in template else filled + text

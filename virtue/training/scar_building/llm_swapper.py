"""Captions by a language model that sees pictures, behind any endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from PIL import Image, ImageDraw

from virtue.distribution import install_hint
from virtue.errors import InputError
from virtue.pictures import load
from virtue.training.scar_building.annotated_things import Thing
from virtue.training.scar_building.elements import Elements, RejectedError

SIDE = 768
"""Pixels of the long side of a picture as it is sent."""
ASKS = 3
"""How often a model is asked for an answer that can be read."""
RETRIES = 5
"""How often a request is repeated that timed out, or met a limit of rate or an error of the server."""
MAX_TOKENS = 600
"""Of an answer."""
IMAGE_TOKENS, TEXT_TOKENS, ANSWER_TOKENS = 1100, 400, 250
"""What a request takes, roughly: for estimates."""

TASK = (
    'A red box marks one object in the picture: "{category}".{known}\n'
    "Describe it in three parts that read one after the other as a caption: the object; its relation to "
    "another object in the picture, named so that it cannot be mistaken; the scene. Then give for each part "
    "three others in its place that are plausible, of the same length and style, and clearly false of this "
    "picture. "
    "Another object must be a different kind of thing, not a synonym, a part or a kind of it.\n"
    "Answer with JSON alone: "
    '{{"object": "", "relation": "", "scene": "", "object_swaps": ["", "", ""], '
    '"relation_swaps": ["", "", ""], "scene_swaps": ["", "", ""]}}'
)
CHECK = (
    "A red box marks one object in the picture. Which of these captions are true of it? Answer with JSON "
    'alone, the numbers of the true ones: {{"true": [1]}}\n{captions}'
)


Read = TypeVar("Read")


class PostponedError(Exception):
    """An endpoint that does not answer now; says why."""


class LlmSwapper:
    """Asks a model for the elements of a caption and their swaps, then which of the captions are true.

    Args:
        url: of the endpoint, as in http://localhost:8000/v1. The key is that of $OPENAI_API_KEY.
        model: its name there.
        timeout: seconds until a request is repeated.

    Raises:
        InputError: the package openai is not installed.
    """

    def __init__(self, url: str, model: str, timeout: float = 120) -> None:
        try:
            import openai
        except ImportError:
            raise InputError(
                f"--llm needs the package openai, which is not installed: {install_hint('build')}"
            ) from None
        self._errors = openai.APIError
        self._model = model
        self.name = f"{model} at {url}"
        self._client = openai.OpenAI(
            base_url=url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            timeout=timeout,
            max_retries=RETRIES,
        )

    def swap(self, thing: Thing) -> Elements:
        """Makes the elements of a caption, and their swaps.

        Raises:
            RejectedError: the model refuses, answers nothing that can be used, or takes a swap for true.
            PostponedError: the endpoint does not answer.
        """
        picture = _mark(thing)
        known = f" Said of the picture: {' '.join(thing.captions)[:600]}" if thing.captions else ""
        elements = self._ask(picture, TASK.format(category=thing.category, known=known), Elements.read)
        captions, _ = elements.captions()
        listed = "\n".join(f"{number}. {caption}" for number, caption in enumerate(captions, start=1))
        true = self._ask(picture, CHECK.format(captions=listed), _read_true)
        if 1 not in true:
            raise RejectedError("the model does not find its own caption true")
        if wrong := sorted(true - {1}):
            raise RejectedError(f"the model finds a swap true as well: {captions[wrong[0] - 1]}")
        return elements

    def _ask(self, picture: str, words: str, read: Callable[[Any], Read]) -> Read:
        """Asks until an answer can be read."""
        content = [
            {"type": "text", "text": words},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        why = RejectedError("no answer")
        for _ in range(ASKS):
            try:
                answer = self._client.chat.completions.create(
                    model=self._model,
                    messages=[{"role": "user", "content": content}],  # type: ignore[misc, list-item]
                    max_tokens=MAX_TOKENS,
                )
            except self._errors as error:
                raise PostponedError(" ".join(str(error).split())[:200]) from error
            choice = answer.choices[0] if answer.choices else None
            if choice is None or choice.message.refusal or choice.finish_reason == "content_filter":
                raise RejectedError("the model refuses")
            try:
                return read(_read_json(choice.message.content or ""))
            except RejectedError as error:
                why = error
        raise why


def _read_json(text: str) -> Any:
    """Reads the JSON object in an answer, whatever stands around it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        return json.loads(text[start : end + 1])
    except ValueError:
        raise RejectedError(f"the answer is no JSON: {' '.join(text.split())[:60]!r}") from None


def _read_true(content: Any) -> set[int]:
    numbers = content.get("true") if isinstance(content, dict) else None
    if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
        raise RejectedError("the answer names no true captions")
    return {each for each in numbers if 1 <= each <= 10}


def _mark(thing: Thing) -> str:
    """Draws a red box around a thing; returns the picture as a data URL."""
    picture = load(thing.picture, side=SIDE)
    image = Image.fromarray(picture.pixels)
    scale = image.width / picture.width
    corners = [value * scale for value in thing.box.corners]
    ImageDraw.Draw(image).rectangle(corners, outline="red", width=3)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def describe_cost(things: Sequence[Thing], prices: tuple[float, float] | None) -> str:
    """Says what describing things takes, roughly.

    Args:
        prices: of a million tokens, in and out.
    """
    requests = 2 * len(things)
    tokens_in, tokens_out = requests * (IMAGE_TOKENS + TEXT_TOKENS), requests * ANSWER_TOKENS
    pictures = len({thing.name for thing in things})
    sentence = (
        f"{len(things):,} things in {pictures:,} pictures: about {requests:,} requests, {tokens_in:,} "
        f"tokens in and {tokens_out:,} out"
    )
    if prices is None:
        return sentence
    return f"{sentence}, {(tokens_in * prices[0] + tokens_out * prices[1]) / 1e6:.2f} at these prices"

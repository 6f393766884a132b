"""How folders of models from strangers are refused."""

from pathlib import Path

import pytest

from virtue import Embedder
from virtue.errors import ModelError

MAX_SENTENCE = 900
"""Characters of a sentence that says what is wrong, with the paths of this machine in it."""


def refusal(folder: Path) -> str:
    """Returns the sentence with which a folder is refused. What runs leaves a mark beside the folder."""
    with pytest.raises(ModelError) as caught:
        Embedder.from_pretrained(folder, device="cpu", threads=1, offline=True)
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert len(sentence) < MAX_SENTENCE
    assert not (folder.parent / "ran").exists()
    return sentence

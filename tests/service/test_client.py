"""One suite of behaviour for a `Library`, and for a `Client` of one that is served."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import EXAMPLES
from tests.service.conftest import ODD
from tests.service.serving import Served, serve
from tests.service.test_safety import TOKEN
from tests.service.test_searching import BOX, GABLE
from virtue import Annotation, Box, Client, Hit, Library, Progress, Query, Region, VectorBlock
from virtue.errors import (
    EmptyLibraryError,
    InputError,
    PictureError,
    PromptError,
    ServiceError,
    StoppedError,
    VirtueError,
)

FILE = EXAMPLES / "query" / "gable.jpg"
Subject = Library | Client
KINDS = ("library", "client")


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest, place: Path, served: Served) -> Iterator[Subject]:
    """A library, or a client of the service of the same, to read from."""
    if request.param == "library":
        with Library(place / "library", read_only=True) as library:
            yield library
    else:
        with Client(served.address) as client:
            yield client


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest, place: Path, tmp_path: Path) -> Iterator[tuple[Subject, Path]]:
    """The same, to write to, and the folder of its photos."""
    album = Path(shutil.copytree(place / "album", tmp_path / "album"))
    with Library(tmp_path / "library") as library:
        library.index(album, regions="none", ocr=False)
        if request.param == "library":
            yield library, album
            return
    with (
        serve(tmp_path / "library", home=tmp_path, VIRTUE_OCR="false") as served,
        Client(served.address) as client,
    ):
        yield client, album


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


def test_words(subject: Subject) -> None:
    hits = subject.search("a cat", top=2)
    assert [type(hit) for hit in hits] == [Hit, Hit]
    assert names(hits)[0] == "cat" and [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score > hits[1].score and hits[0].sureness == "likely"
    assert (hits[0].taken, hits[0].camera, hits[0].rating) == ("2024-06-01T10:00:00", "Canon X1", 5)
    assert hits[0].tags == ("animal", "home") and isinstance(hits[0].box, Box)
    assert subject.search("a cat", top=1, offset=1)[0].rank == 2
    assert {hit.kind for hit in subject.search("a cat", find="captions")} == {"caption"}
    assert names(subject.search("an animal", where="rating < 4 and tag = animal")) == ["dog"]
    assert names(subject.search(where=["rating >= 4", "tag = night"])) == ["rocket"]
    assert subject.search("a cat", min_score=2) == []
    (odd,) = subject.search(where="path ~ *caf*")
    assert odd.raw_path.endswith(ODD)


@pytest.mark.parametrize(
    "image",
    [FILE, GABLE, Image.open(FILE), np.asarray(Image.open(FILE).convert("RGB"))],
    ids=["path", "bytes", "pillow", "array"],
)
def test_pictures(subject: Subject, image: Any) -> None:
    hit = subject.search({"image": image, "box": BOX}, top=1)[0]
    assert hit.raw_path.endswith(ODD) and hit.kind == "region"
    assert subject.search(image, top=1)[0].raw_path.endswith(ODD)


def test_prompts(subject: Subject) -> None:
    mask = np.zeros(np.asarray(Image.open(FILE)).shape[:2], bool)
    mask[160:350, 250:440] = True
    boxed = subject.search({"image": FILE, "box": BOX})
    masked = subject.search({"image": FILE, "mask": mask})
    drawn = Image.new("L", mask.shape[::-1])
    ImageDraw.Draw(drawn).rectangle((250, 160, 439, 349), fill=255)
    assert masked == subject.search({"image": FILE, "mask": drawn})
    assert names(masked)[0] == names(boxed)[0]
    width, height = mask.shape[::-1]
    relative = Box.relative(250 / width, 160 / height, 440 / width, 350 / height)
    again = subject.search({"image": FILE, "box": relative})
    assert [hit.region_id for hit in again] == [hit.region_id for hit in boxed]
    assert subject.search({"image": FILE, "points": [(340, 250), (10, 10, 0)], "text": "at night"})


def test_composed_queries(subject: Subject) -> None:
    cat = subject.search("a cat")[0]
    hits = subject.search([{"text": "grass", "weight": 0.5}, cat], without="a coin")
    assert cat.photo_id not in {hit.photo_id for hit in hits}
    assert hits == subject.search(Query.of([{"text": "grass", "weight": 0.5}, cat], "a coin"))
    vector = subject.embedder.encode_query("a cat", find="photos")
    assert names(subject.search(vector, top=1)) == ["cat"]
    assert names(subject.search({"photo_id": cat.photo_id})) != ["cat"]


def test_many_queries(subject: Subject) -> None:
    found = subject.search_many(["a cat", {"image": FILE, "box": BOX}, "a dog"], top=1)
    assert names(found[0]) + names(found[2]) == ["cat", "dog"]
    assert found[1][0].raw_path.endswith(ODD)
    assert subject.search_many([]) == []
    with pytest.raises(InputError, match="query 1: the text is empty"):
        subject.search_many(["a cat", " "])
    with pytest.raises(InputError, match="queries are a list"):
        subject.search_many("a cat")
    with pytest.raises(PictureError, match="query 1: "):
        subject.search_many(["a cat", b"no picture"])


def test_lists(subject: Subject) -> None:
    photos = subject.photos(order="-taken")
    assert [Path(photo.paths[0]).stem for photo in photos if photo.taken] == ["rocket", "cat", "dog", "coins"]
    assert subject.count() == len(photos) == 5
    assert subject.count("rating >= 4") == 2 and subject.count(["rating >= 4", "tag = night"]) == 1
    assert subject.photos(order="-taken", offset=1, limit=2) == photos[1:3]
    assert subject.photos("tag = night")[0].captions and subject.photos(limit=0) == []
    assert subject.fits("tag = night") and not subject.fits("tag = nothing") and subject.fits(None)


def test_vectors(subject: Subject) -> None:
    blocks = list(subject.vectors("photos", block=2))
    assert [type(block) for block in blocks] == [VectorBlock] * 3
    assert sorted(id for block in blocks for id in block.ids) == sorted(p.photo_id for p in subject.photos())
    rows = np.concatenate([block.vectors for block in blocks])
    assert rows.dtype == np.float32 and rows.shape == (5, subject.embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    assert blocks[0].boxes.shape == (2, 4)
    captions = list(subject.vectors("captions", where="tag = night"))
    assert sum(len(block.ids) for block in captions) == 1


def test_the_model(subject: Subject) -> None:
    embedder = subject.embedder
    assert (embedder.name, embedder.dim) == ("mini", 784) and len(embedder.fingerprint) == 32
    rows = embedder.encode(["a dog", {"image": FILE, "box": BOX}])
    assert rows.shape == (2, 784) and rows.dtype == np.float32
    assert embedder.encode("a dog").shape == (784,)
    np.testing.assert_allclose(embedder.encode("a dog"), rows[0], atol=1e-6)
    assert embedder.encode(["a dog"], truncate_dim=16).shape == (1, 16)
    assert embedder.encode_query(["some people"], find="photos").shape == (1, 784)


def test_duplicates(subject: Subject, place: Path) -> None:
    assert subject.similar() == []
    ((cat, *others),) = subject.similar(place / "album" / "cat.jpg", threshold=0.1)
    assert cat.tier is None and Path(cat.path).name == "cat.jpg"
    assert others and all(other.tier == "similar" for other in others)


WRONG: list[tuple[Callable[[Any], Any], type[VirtueError], str]] = [
    (lambda s: s.search(" "), InputError, "the text is empty"),
    (lambda s: s.search(), InputError, "nothing to search for"),
    (lambda s: s.search("a", top=0), InputError, "top"),
    (lambda s: s.search("a", find="cats"), InputError, "cats|auto"),
    (lambda s: s.search("a", where="colour = 1"), InputError, "no field 'colour'"),
    (lambda s: s.search({"photo_id": 999}), InputError, "no photo 999"),
    (lambda s: s.search({"image": b"no picture"}), PictureError, "not a picture"),
    (lambda s: s.search({"image": "none.jpg"}), PictureError, "no such file"),
    (lambda s: s.search({"image": FILE, "box": (0, 0, 9999, 10)}), PromptError, "leaves the picture"),
    (lambda s: s.search({"image": FILE, "points": [(1, 9999)]}), PromptError, "outside the picture"),
    (lambda s: s.search({"text": "a", "weight": 0}), InputError, "cannot weigh 0"),
    (lambda s: s.search(np.zeros(784)), InputError, "zero"),
    (lambda s: s.search(np.ones(3)), InputError, "784"),
    (lambda s: s.photos("taken >"), InputError, "cannot be read"),
    (lambda s: s.photos(order="colour"), InputError, "taken"),
    (lambda s: s.photos(limit=-1), InputError, "at least 0"),
    (lambda s: s.count("x = 1"), InputError, "no field"),
    (lambda s: list(s.vectors("cats")), InputError, "regions"),
    (lambda s: s.index(""), InputError, "a path is empty"),
]


@pytest.mark.parametrize(("work", "kind", "words"), WRONG)
def test_errors(subject: Subject, work: Callable[[Any], Any], kind: type[VirtueError], words: str) -> None:
    with pytest.raises(kind, match=words):
        work(subject)


def test_annotating_and_forgetting(own: tuple[Subject, Path]) -> None:
    subject, album = own
    (dog,) = subject.photos("path ~ *dog.jpg")
    ear = Region(Box(10, 10, 90, 90), "ear", ("a floppy ear",))
    subject.annotate(dog.photo_id, captions=["Rex in the garden"], tags=["pets"], rating=2, regions=[ear])
    (dog,) = subject.photos("category = ear")
    assert dog.tags == ("pets",) and dog.rating == 2 and "Rex in the garden" in dog.captions
    assert dog.regions[0].box == ear.box and dog.regions[0].captions == ear.captions
    assert subject.search("Rex in the garden", top=1)[0].photo_id == dog.photo_id
    subject.annotate([Annotation(dog.photo_id, rating=None)])
    assert subject.photos("category = ear")[0].rating is None
    with pytest.raises(InputError, match="999"):
        subject.annotate(999, rating=1)
    with pytest.raises(InputError, match="rating"):
        subject.annotate(dog.photo_id, rating=9)
    assert subject.forget(photo_ids=[dog.photo_id]) == 1
    assert subject.count() == 3 and "dog" not in names(subject.search("a dog"))
    assert subject.forget(where="tag = night") == 1
    assert subject.forget(album / "dog.jpg", undo=True) == 1
    with pytest.raises(InputError, match="one of them"):
        subject.forget(where="rating = 1", photo_ids=[1])


def test_indexing_and_adding(own: tuple[Subject, Path]) -> None:
    subject, album = own
    shutil.copy(EXAMPLES / "photos" / "coffee.jpg", album / "coffee.jpg")
    (album / "broken.jpg").write_bytes(b"no picture")
    told: list[Progress] = []
    report = subject.index(album, regions="none", ocr=False, progress=told.append)
    assert (report.indexed, report.unchanged) == (1, 4)
    assert [path for path, _ in report.problems] == [str(album / "broken.jpg").encode()]
    assert told and {type(each) for each in told} == {Progress}
    assert names(subject.search("a cup of coffee", top=1)) == ["coffee"]
    report = subject.add(GABLE, name="4711-Q", ocr=False)
    assert report.indexed == 1
    assert subject.search(FILE, top=1)[0].name == "4711-Q"
    report = subject.add({"a": (EXAMPLES / "photos" / "butterfly.jpg").read_bytes(), "b": b"none"}, ocr=False)
    assert report.indexed == 1 and len(report.problems) == 1
    with pytest.raises(InputError, match="with its name"):
        subject.add(GABLE)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        subject.index(album, rehash=True, ocr=False, stop=stop)


# -- the client alone --------------------------------------------------------------------------------------


def test_threads_share_a_client(served: Served) -> None:
    found: dict[int, list[Hit]] = {}
    with Client(served.address) as client:
        wanted = client.search("a cat")

        def ask(number: int) -> None:
            found[number] = [client.search("a cat") for _ in range(3)][-1]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == dict.fromkeys(range(16), wanted)


def test_a_client_sends_its_token(place: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with serve(place / "library", "--read-only", "--token-file", token, home=tmp_path) as served:
        with Client(served.address, token=TOKEN) as client:
            assert client.count() == 5
        for wrong in (None, "wrong"):
            with Client(served.address, token=wrong) as client, pytest.raises(VirtueError, match="token"):
                client.count()
    with Client(served.address, token=TOKEN) as client, pytest.raises(ServiceError, match="does not answer"):
        client.count()


def test_a_client_goes_on_when_the_service_was_started_again(place: Path, tmp_path: Path) -> None:
    with serve(place / "library", "--read-only", home=tmp_path) as served:
        port = served.address.rstrip("/").rpartition(":")[2]
        client = Client(served.address)
        assert client.count() == 5
    with serve(place / "library", "--read-only", "--port", port, home=tmp_path):
        assert client.count() == 5
    client.close()


def test_addresses_that_are_none() -> None:
    for address in ("", "localhost:8427", "ftp://localhost"):
        with pytest.raises(InputError, match="no address of a service"):
            Client(address)


def test_an_empty_library_is_told_as_such(tmp_path: Path) -> None:
    Library.create(tmp_path / "library").close()
    with serve(tmp_path / "library", home=tmp_path) as served, Client(served.address) as client:
        with pytest.raises(EmptyLibraryError, match="nothing is indexed"):
            client.search("a cat")
        assert client.count() == 0

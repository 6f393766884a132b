"""Photos are listed, and their files served, by id and by nothing else."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.conftest import EXAMPLES
from tests.service.conftest import ODD
from tests.service.serving import serve
from virtue import Annotation, Box, Library, Photo, Region
from virtue.wire import photo_from_json


def listed(http: httpx.Client, **asked: object) -> list[Photo]:
    answer = http.get("/v1/photos", params=asked)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return [photo_from_json(photo) for photo in answer.json()["photos"]]


def test_photos_are_listed_with_all_that_is_known(http: httpx.Client, library: Library) -> None:
    assert listed(http) == library.photos()
    assert listed(http, order="-taken", limit=2, offset=1) == library.photos(
        order="-taken", limit=2, offset=1
    )
    where = ["rating >= 3", "tag = animal"]
    assert listed(http, where=where) == library.photos(where) != []
    assert http.get("/v1/photos", params={"where": where, "limit": 1}).json()["total"] == 2
    for photo in library.photos():
        assert photo_from_json(http.get(f"/v1/photos/{photo.photo_id}").json()) == photo


def test_regions_and_captions(http: httpx.Client, library: Library) -> None:
    (cat,) = library.photos("path ~ *cat.jpg")
    regions = http.get(f"/v1/photos/{cat.photo_id}/regions").json()["regions"]
    known = [block for block in library.vectors("regions", where="path ~ *cat.jpg")]
    assert {region["region_id"] for region in regions} == {int(id) for block in known for id in block.ids}
    (whole,) = [region for region in regions if region["is_full_image"]]
    assert whole["box"] == [0, 0, cat.width, cat.height] and whole["origin"] == "whole"
    captions = http.get(f"/v1/photos/{cat.photo_id}/captions").json()["captions"]
    assert captions == [
        {"text": text, "source": "caption", "region_id": None, "box": None} for text in cat.captions
    ]
    assert len(captions) == 1


def test_what_was_given_and_read_comes_too(place: Path, tmp_path: Path) -> None:
    with Library(shutil.copytree(place / "library", tmp_path / "library")) as library:
        (cat,) = library.photos("path ~ *cat.jpg")
        ear = Region(Box(10, 10, 90, 90), "ear", ("a pointed ear",))
        library.annotate([Annotation(cat.photo_id, regions=[ear])])
        (cat,) = library.photos("path ~ *cat.jpg")
    with serve(tmp_path / "library", "--read-only", home=tmp_path) as served, served.client() as http:
        assert photo_from_json(http.get(f"/v1/photos/{cat.photo_id}").json()) == cat
        captions = http.get(f"/v1/photos/{cat.photo_id}/captions").json()["captions"]
        assert captions[-1]["text"] == "a pointed ear" and captions[-1]["box"] == [10, 10, 80, 80]


def test_files_are_served_as_they_are(http: httpx.Client, library: Library) -> None:
    for photo in library.photos():
        answer = http.get(f"/v1/photos/{photo.photo_id}/file")
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).digest() == photo.hash
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = http.get(
            f"/v1/photos/{photo.photo_id}/file", headers={"if-none-match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    (odd,) = library.photos("path ~ *caf*")
    disposition = http.get(f"/v1/photos/{odd.photo_id}/file").headers["content-disposition"]
    assert disposition.startswith("inline; filename*=UTF-8''%3Cb%3Ecaf")
    assert os.path.basename(odd.raw_paths[0]) == ODD


def test_thumbnails_are_small_upright_and_made_once(http: httpx.Client, library: Library) -> None:
    (cat,) = library.photos("path ~ *cat.jpg")
    first = http.get(f"/v1/photos/{cat.photo_id}/thumbnail", params={"side": 128})
    assert first.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(first.content)) as image:
        assert max(image.size) == 128
        assert not image.getexif(), "what the camera knew stays in the file"
    assert http.get(f"/v1/photos/{cat.photo_id}/thumbnail", params={"side": 128}).content == first.content
    crop = http.get(f"/v1/photos/{cat.photo_id}/thumbnail", params={"box": "10,20,100,50"})
    with Image.open(io.BytesIO(crop.content)) as image:
        assert image.size == (100, 50)
    for asked in ({"side": 200}, {"box": "1,2,3"}, {"box": "1,2,9000,3"}, {"side": "x"}):
        problem = http.get(f"/v1/photos/{cat.photo_id}/thumbnail", params=asked).json()
        assert problem["status"] == 422
        assert problem["errors"][0]["pointer"] == f"#/{next(iter(asked))}"


def test_thumbnails_are_kept_on_the_disk_for_nobody_else(place: Path, tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "virtue" / "thumbnails"
    with serve(place / "library", "--read-only", home=tmp_path) as served, served.client() as http:
        content = http.get("/v1/photos/1/thumbnail").content
        (file,) = cache.glob("*/*")
        assert file.read_bytes() == content
        assert [folder.stat().st_mode & 0o777 for folder in (cache, file.parent)] == [0o700, 0o700]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/photos/../../../../etc/passwd",
        "/v1/photos/..%2f..%2f..%2fetc%2fpasswd/file",
        "/v1/photos/%2e%2e/%2e%2e/file",
        "/v1/photos//etc/passwd/file",
        "/v1/photos/1%00/file",
        "/v1/photos/-1/file",
        "/v1/photos/1e3/file",
        "/v1/photos/99999999999999999999999/file",
        "/file:///etc/passwd",
        "/static/../../etc/passwd",
    ],
)
def test_paths_lead_nowhere(served_raw: Callable[..., tuple[int, bytes]], path: str) -> None:
    status, content = served_raw(path)
    assert status in (404, 422)
    assert b"root:" not in content


def test_a_file_that_is_no_longer_the_photo_is_not_served(place: Path, tmp_path: Path) -> None:
    """Edited, swapped for a link that leads out, for a pipe, for a folder; then put back."""
    album = Path(shutil.copytree(place / "album", tmp_path / "album"))
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with Library(tmp_path / "library") as library:
        library.index(album, regions="none", ocr=False)
        (cat,) = library.photos("path ~ *cat.jpg")
    path = album / "cat.jpg"
    content = path.read_bytes()
    with serve(tmp_path / "library", "--read-only", home=tmp_path) as served, served.client() as http:
        urls = [f"/v1/photos/{cat.photo_id}/file", f"/v1/photos/{cat.photo_id}/thumbnail"]
        assert http.get(urls[0]).content == content

        def refused() -> None:
            for url in urls:
                answer = http.get(url)
                assert answer.status_code == 410, url
                assert b"secret" not in answer.content and str(tmp_path) not in answer.text

        def swap(make: object) -> None:
            path.unlink() if not path.is_dir() else path.rmdir()
            make()  # type: ignore[operator]

        swap(lambda: path.symlink_to(secret))
        refused()
        swap(lambda: path.symlink_to("/etc/passwd"))
        refused()
        swap(lambda: os.mkfifo(path))
        refused()
        swap(path.mkdir)
        refused()
        swap(lambda: path.write_bytes(content + b"x"))
        refused()
        swap(lambda: shutil.copy(EXAMPLES / "photos" / "dog.jpg", path))
        refused()
        swap(lambda: path.write_bytes(content))
        assert http.get(urls[0]).content == content


def test_what_filters_may_compare_with(http: httpx.Client, place: Path) -> None:
    found = http.get("/v1/suggestions").json()
    assert found["cameras"][0] == "Canon X1" and set(found["cameras"]) == {"Canon X1", "Nikon X1", "Leica X1"}
    assert found["tags"] == ["animal", "home", "night"]
    assert found["folders"] == [str(place / "album"), str(place / "odd")]
    for camera in found["cameras"]:
        assert http.get("/v1/photos", params={"where": f"camera = '{camera}'"}).json()["total"] > 0

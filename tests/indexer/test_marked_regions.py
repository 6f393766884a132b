"""Faces and things that other programs marked in photos, and who they are."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tests.indexer import written_xmp as xmp
from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from tests.indexer.test_metadata_sidecars import photo
from virtue import Library
from virtue.geometry import Box
from virtue.indexer.reindexing import reindex
from virtue.indexer.xmp import Xmp
from virtue.indexer.xmp_regions import MarkedRegion, fit_regions, read_regions
from virtue.pictures import load
from virtue.store import open_store
from virtue.tasks.annotate_photos import Annotation, annotate

FACE = (0.5, 0.5, 0.25, 0.5)
"""x, y, w, h in shares."""
BOX = Box(30, 15, 50, 45)
"""The same in a photo of 80 x 60 pixels."""


def marks(shelf: Shelf, path: Path) -> list[tuple[Box, str | None, tuple[str, ...]]]:
    return [(region.box, region.category, region.captions) for region in photo(shelf, path).regions]


def options(format: str, packet: str) -> dict[str, Any]:
    """How Pillow writes XMP into a file."""
    if format == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet)
        return {"pnginfo": info}
    return {"tiffinfo": {700: packet.encode()}} if format == "tif" else {"xmp": packet.encode()}


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "tif"])
def test_a_face_inside_the_photo(shelf: Shelf, format: str) -> None:
    path = shelf.photo(f"a.{format}", **options(format, xmp.digikam("Anna Müller", *FACE)))
    shelf.index()
    assert marks(shelf, path) == [(BOX, "face", ("Anna Müller",))]
    (caption,) = shelf.all_captions()
    assert (caption.source, caption.text, caption.box) == ("metadata", "Anna Müller", BOX)
    assert {region.origin for region in shelf.regions(path.name)} == {"whole", "proposal", "metadata"}


def picture(*parts: tuple[str, tuple[int, int, int, int]]) -> Image.Image:
    image = Image.new("RGB", (80, 60), "white")
    for colour, corners in parts:
        ImageDraw.Draw(image).rectangle(corners, colour)
    return image


def test_a_region_is_embedded_as_what_it_shows(shelf: Shelf) -> None:
    path = shelf.photos / "a.png"
    picture(("blue", (30, 15, 49, 44))).save(path)
    path.with_suffix(".xmp").write_text(xmp.digikam("Anna", *FACE))
    shelf.index()
    with shelf.store.read() as snapshot:
        found = [region for region in shelf.regions("a.png") if region.origin == "metadata"]
        (vector,) = snapshot.vectors_of("regions", [found[0].row])
    blue = np.array([0, 0, 255, 25]) / math.hypot(255, 25)
    assert vector[:4] == pytest.approx(blue, abs=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("is_upright", [False, True])
@pytest.mark.parametrize("format", ["jpg", "tif"])
def test_regions_are_turned_with_the_photo(
    shelf: Shelf, orientation: int, is_upright: bool, format: str
) -> None:
    """They are drawn on the stored picture, unless the size they were drawn on says otherwise."""
    stored = picture(("blue", (8, 6, 23, 23)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = shelf.photos / f"a.{format}"
    stored.save(path, exif=exif, **({"quality": 95, "subsampling": 0} if format == "jpg" else {}))
    upright = load(path)
    seen = np.argwhere((upright.pixels[..., 2] > 128) & (upright.pixels[..., 0] < 128))
    (y0, x0), (y1, x1) = seen.min(0), seen.max(0) + 1
    turned = orientation > 4
    width, height = (60, 80) if turned else (80, 60)
    if is_upright and turned:
        center = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        regions = xmp.lightroom_regions((width * 10, height * 10), ("Anna", *center))
    else:
        regions = xmp.lightroom_regions((800, 600), ("Anna", 0.2, 0.25, 0.2, 0.3))
    path.with_suffix(".xmp").write_text(xmp.lightroom(regions=regions))
    shelf.index()
    ((box, _, _),) = marks(shelf, path)
    assert box.corners == pytest.approx((x0, y0, x1, y1), abs=2)


shares = st.floats(0.05, 0.9)


@settings(max_examples=300)
@given(
    st.integers(1, 8),
    st.integers(20, 5000),
    st.integers(20, 5000),
    shares,
    shares,
    shares,
    shares,
    st.booleans(),
)
def test_a_region_turns_as_its_corners_do(
    orientation: int, width: int, height: int, x: float, y: float, w: float, h: float, is_sized: bool
) -> None:
    """`width` and `height` are of the stored picture."""
    w, h = min(w, 2 * x, 2 - 2 * x), min(h, 2 * y, 2 - 2 * y)

    def turn(x: float, y: float) -> tuple[float, float]:
        """As EXIF says where the first row and column are (EXIF 2.32, 4.6.4)."""
        return {
            1: (x, y), 2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y),
            5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x),
        }[orientation]  # fmt: skip

    size = (height, width) if orientation > 4 else (width, height)
    drawn_on = (float(width), float(height)) if is_sized else (0.0, 0.0)
    region = MarkedRegion("Anna", None, x - w / 2, y - h / 2, x + w / 2, y + h / 2, drawn_on)
    fitted = fit_regions([region], *size, orientation)
    assert fitted.faults == ()
    corners = [turn(region.x0, region.y0), turn(region.x1, region.y1)]
    across = sorted(corner[0] * size[0] for corner in corners)
    down = sorted(corner[1] * size[1] for corner in corners)
    expected = (across[0], down[0], across[1], down[1])
    assert fitted.regions[0].box.corners == pytest.approx(expected, abs=1e-6 * max(size))


def test_what_picasa_and_apple_write(shelf: Shelf) -> None:
    one, two = shelf.photo("1.jpg"), shelf.photo("2.jpg", "blue")
    one.with_suffix(".xmp").write_text(xmp.resource("Ben", "Face", xmp.area(*FACE), (3088, 2320)))
    two.with_suffix(".xmp").write_text(xmp.resource(None, "Pet", xmp.area(*FACE)))
    shelf.index()
    assert marks(shelf, one) == [(BOX, "face", ("Ben",))]
    assert marks(shelf, two) == [(BOX, "pet", ())]


def test_what_windows_writes(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    path.with_suffix(".xmp").write_text(
        xmp.packet("""<rdf:Description rdf:about="" xmlns:MP="http://ns.microsoft.com/photo/1.2/">
  <MP:RegionInfo><rdf:Description xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#">
   <MPRI:Regions><rdf:Bag xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#">
    <rdf:li><rdf:Description><MPReg:Rectangle>0.375, 0.25, 0.25, 0.5</MPReg:Rectangle>
     <MPReg:PersonDisplayName>Anna</MPReg:PersonDisplayName>
     <MPReg:PersonEmailDigest>1a</MPReg:PersonEmailDigest></rdf:Description></rdf:li>
    <rdf:li><rdf:Description><MPReg:PersonDisplayName>Somewhere</MPReg:PersonDisplayName>
    </rdf:Description></rdf:li>
   </rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo></rdf:Description>""")
    )
    shelf.index()
    assert marks(shelf, path) == [(BOX, "face", ("Anna",))]


def test_a_circle_and_a_focus_point(shelf: Shelf) -> None:
    circle = "<stArea:x>0.5</stArea:x><stArea:y>0.5</stArea:y><stArea:d>0.5</stArea:d>"
    path, other = shelf.photo("a.jpg"), shelf.photo("b.jpg", "blue")
    path.with_suffix(".xmp").write_text(xmp.resource("Ben", "Face", circle, (800, 600)))
    other.with_suffix(".xmp").write_text(xmp.resource(None, "Focus", xmp.area(*FACE)))
    assert shelf.index().warnings == []
    assert marks(shelf, path) == [(Box(25, 15, 55, 45), "face", ("Ben",))]
    assert marks(shelf, other) == []


def test_a_region_over_the_edge_is_clipped(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    path.with_suffix(".xmp").write_text(xmp.resource("Ben", "Face", xmp.area(0.9, 0.25, 0.25, 0.5004)))
    assert shelf.index().warnings == []
    ((box, _, _),) = marks(shelf, path)
    assert box.corners == pytest.approx((62, 0, 80, 30.012))


@pytest.mark.parametrize(
    ("area", "size", "reason"),
    [
        (xmp.area(5, 0.5, 0.2, 0.2), None, "lies outside the picture"),
        (xmp.area(0.5, 0.5, -0.2, 0.2), None, "has no size"),
        (xmp.area(0.5, 0.5, 0, 0), None, "has no size"),
        (xmp.area(0.5, 0.5, 3, 3), None, "lies outside the picture"),
        (xmp.area(math.nan, 0.5, 0.2, 0.2), None, "has no four numbers for its place"),
        (xmp.area(0.5, 0.5, math.inf, 0.2), None, "has no four numbers for its place"),
        ("<stArea:x>0.5</stArea:x><stArea:y>a</stArea:y>", None, "has no four numbers for its place"),
        (xmp.area(*FACE), (3000, 1000), "was drawn on a picture of 3000 x 1000 pixels"),
    ],
)
def test_nonsense_is_named_and_costs_itself(
    shelf: Shelf, area: str, size: tuple[int, int] | None, reason: str
) -> None:
    path = shelf.photo("a.jpg")
    path.with_suffix(".xmp").write_text(xmp.resource("Ben", "Face", area, size))
    (warning,) = shelf.index().warnings
    assert warning.startswith(f"{path}: the region 'Ben' {reason}")
    assert marks(shelf, path) == [] and shelf.regions("a.jpg") != []


def test_too_many_regions_are_cut_and_told(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    some = [(f"P{n}", 0.5, 0.5, 0.1, 0.1) for n in range(600)]
    path.with_suffix(".xmp").write_text(xmp.lightroom(regions=xmp.lightroom_regions((80, 60), *some)))
    assert shelf.index().warnings == [f"{path}: the first 500 regions are kept"]
    assert len(marks(shelf, path)) == 500


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_no_rubbish_ends_the_reading(rubbish: bytes) -> None:
    packet = xmp.digikam().encode()
    for place in range(0, len(packet), 97):
        read_regions(Xmp(packet[:place] + rubbish + packet[place:]))


def test_other_regions_are_embedded_and_the_same_ones_are_not(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    sidecar = path.with_suffix(".xmp")
    sidecar.write_text(xmp.digikam("Anna", *FACE))
    shelf.index()
    sidecar.write_text(xmp.digikam("Ben", *FACE))
    report = shelf.index()
    assert (report.reembedded, marks(shelf, path)) == (1, [(BOX, "face", ("Ben",))])
    sidecar.write_text(xmp.digikam("Ben", 0.5, 0.5, 0.5, 0.5))
    assert shelf.index().reembedded == 1
    assert marks(shelf, path) == [(Box(20, 15, 60, 45), "face", ("Ben",))]
    sidecar.write_text(xmp.digikam("Ben", 0.5, 0.5, 0.5, 0.5) + "\n")
    assert (shelf.index().unchanged, shelf.model.pictures) == (1, 0)
    sidecar.unlink()
    assert shelf.index().reembedded == 1
    assert marks(shelf, path) == [] and shelf.all_captions() == []


def test_regions_beside_a_photo_go_before_those_in_it(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", xmp=xmp.digikam("Anna", *FACE).encode())
    shelf.index()
    path.with_suffix(".xmp").write_text(xmp.digikam("Ben", *FACE))
    shelf.index()
    assert marks(shelf, path) == [(BOX, "face", ("Ben",))]
    path.with_suffix(".xmp").write_text(xmp.lightroom())
    shelf.index()
    assert marks(shelf, path) == [(BOX, "face", ("Anna",))]
    assert photo(shelf, path).rating == 4


def test_regions_stay_with_another_model_and_beside_coco(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", xmp=xmp.digikam("Anna", *FACE).encode())
    coco = shelf.folder / "coco.json"
    coco.write_text(
        '{"images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],'
        '"categories": [{"id": 1, "name": "hat"}],'
        '"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 9]}]}'
    )
    shelf.index(annotations=coco)
    expected = [(Box(1, 2, 9, 11), "hat", ()), (BOX, "face", ("Anna",))]
    assert marks(shelf, path) == expected
    shelf.model = ColourModel("colours-2")
    reindex(shelf.store, shelf.model, workers=1)
    assert marks(shelf, path) == expected
    assert shelf.index(rehash=True).unchanged == 1
    with shelf.store.write("repair") as writer:
        writer.discard([photo(shelf, path).hash])
    shelf.index()
    assert marks(shelf, path) == expected


def test_what_code_says_of_regions_takes_their_place(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", xmp=xmp.digikam("Anna", *FACE).encode())
    sidecar = path.with_suffix(".xmp")
    shelf.index()

    def say(*regions: Any) -> None:
        said = Annotation(photo(shelf, path).photo_id, regions=regions)
        annotate(shelf.store, lambda: shelf.model, [said])  # type: ignore[arg-type,return-value]

    (anna,) = photo(shelf, path).regions
    say(anna)
    shelf.index(regions=2)
    assert marks(shelf, path) == [(BOX, "face", ("Anna",))]
    (anna,) = photo(shelf, path).regions
    say(replace(anna, captions=("Anna Müller",)))
    shelf.index(regions=3)
    assert marks(shelf, path) == [(BOX, "face", ("Anna Müller",))]
    sidecar.write_text(xmp.digikam("Ben", *FACE))
    shelf.index()
    assert marks(shelf, path) == [(BOX, "face", ("Anna Müller",))]
    say()
    shelf.index(regions=4)
    assert marks(shelf, path) == []


def test_regions_go_with_exports_and_merges(shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.photo("a.jpg", xmp=xmp.digikam("Anna", *FACE).encode())
    shelf.index()
    from virtue.store.transfer.photo_reader import read_manifest, read_photos
    from virtue.tasks.take_in import take_in

    with open_store(tmp_path / "other", create=True) as other:
        with shelf.store.read_sound() as snapshot, other.write("test") as writer:
            manifest = read_manifest(snapshot)
            take_in(other, writer, manifest, read_photos(snapshot), "a test")
        with other.read() as snapshot:
            (found,) = snapshot.photos(snapshot.photo_ids())
        assert [(each.box, each.captions) for each in found.regions] == [(BOX, ("Anna",))]
        assert other.verify() == []
    assert marks(shelf, path)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Iterator[Library]:
    """Two photos, in one of which Anna Müller's face is marked."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("astronaut.jpg", "cat.jpg"):
        if (example_photos / name).exists():
            (folder / name).write_bytes((example_photos / name).read_bytes())
    first = sorted(folder.iterdir())[0]
    (folder / f"{first.name}.xmp").write_text(xmp.digikam("Anna Müller", 0.5, 0.3, 0.2, 0.3))
    with Library(folder / "library") as library:
        library.index(folder, ocr=False)
        yield library


def test_a_name_finds_the_photo_by_its_face(people: Library) -> None:
    hit = people.search("Anna Müller")[0]
    assert hit.via[0] == "caption" and hit.caption == "Anna Müller" and hit.kind == "region"
    assert hit.box is not None
    width, height = hit.width, hit.height
    assert hit.box.corners == pytest.approx((0.4 * width, 0.15 * height, 0.6 * width, 0.45 * height))
    (caption, *_) = people.search("Anna Müller", find="captions")
    assert (caption.caption, caption.box) == ("Anna Müller", hit.box)


def test_pictures_that_are_added_have_their_regions(tmp_path: Path) -> None:
    content = io.BytesIO()
    picture(("blue", (30, 15, 49, 44))).save(content, "JPEG", xmp=xmp.digikam("Anna", *FACE).encode())
    with Library(tmp_path / "library") as library:
        library.add({"1": content.getvalue()}, ocr=False)
        (found,) = library.photos()
    assert [(region.box, region.captions) for region in found.regions] == [(BOX, ("Anna",))]

"""Pictures with transparency as queries: only what is opaque is meant."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from virtue import Library
from virtue.embedder import Embedder
from virtue.embedder.mini.colours import TERMS
from virtue.errors import InputError, PictureError, PromptError
from virtue.pictures import load, load_cutout
from virtue.transparency import fill_transparent, find_opaque_rectangle


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder.from_pretrained("mini")


def thing(side: int = 96) -> Image.Image:
    """A textured disc with transparent corners, whose hidden colour is a loud magenta."""
    rng = np.random.default_rng(1)
    texture = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((side, side))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    image = Image.new("RGB", (side, side), (255, 0, 255))
    image.paste(texture, mask=mask)
    image.putalpha(mask)
    return image


def test_what_is_opaque_stays_and_the_rest_takes_its_colours() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 100, 50)
    pixels[:, 30:] = (0, 0, 255)
    alpha = np.zeros((40, 60), np.uint8)
    alpha[10:30, 5:25] = 255
    filled = fill_transparent(pixels, alpha)
    np.testing.assert_array_equal(filled, np.broadcast_to([200, 100, 50], filled.shape))


def test_a_fill_goes_over_from_one_edge_to_the_other() -> None:
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, 48:] = 240
    alpha = np.full((16, 64), 255, np.uint8)
    alpha[:, 16:48] = 0
    row = fill_transparent(pixels, alpha)[8, :, 0].astype(int)
    assert (np.diff(row) >= -1).all()
    assert row[15] == 0 and row[48] == 240 and 60 < row[32] < 180


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (33, 64)])
def test_one_opaque_pixel_fills_a_picture_of_any_size(shape: tuple[int, int]) -> None:
    alpha = np.zeros(shape, np.uint8)
    alpha[-1, -1] = 255
    pixels = np.full((*shape, 3), 9, np.uint8)
    pixels[-1, -1] = (10, 20, 30)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), np.broadcast_to([10, 20, 30], (*shape, 3)))


def test_the_largest_opaque_rectangle() -> None:
    alpha = np.zeros((40, 30), np.uint8)
    assert find_opaque_rectangle(alpha) == (0, 0, 0, 0)
    alpha[4:36, 3:9] = 255
    alpha[20:30, 3:28] = 255
    assert find_opaque_rectangle(alpha) == (3, 20, 28, 30)
    assert find_opaque_rectangle(np.full((480, 100), 255, np.uint8)) == (0, 0, 100, 480)


@pytest.mark.parametrize("form", ["RGBA", "LA", "P", "WEBP", "array"])
def test_every_kind_of_transparency_is_cropped_and_filled(form: str) -> None:
    image = Image.new("RGBA", (100, 80), (255, 0, 255, 0))
    image.paste((60, 60, 60, 255), (20, 30, 60, 70))
    source: Image.Image | bytes | np.ndarray = image.convert(form) if form in ("RGBA", "LA") else image
    if form == "array":
        source = np.asarray(image)
    if form in ("P", "WEBP"):
        held = io.BytesIO()
        (image.quantize(8) if form == "P" else image).save(
            held, "PNG" if form == "P" else "WEBP", lossless=True
        )
        source = held.getvalue()
    cutout = load_cutout(source)
    assert (cutout.width, cutout.height) == (40, 40)
    assert cutout.alpha is None or (cutout.alpha == 255).all()
    assert np.abs(cutout.pixels.astype(int) - 60).max() <= 1
    assert load_cutout(source, crop=False).pixels.shape == (80, 100, 3)
    assert np.abs(load_cutout(source, crop=False).pixels.astype(int) - 60).max() <= 1


def test_a_cutout_stands_upright_in_the_frame_of_its_opaque_part() -> None:
    image = Image.new("RGBA", (100, 80))
    image.paste((10, 10, 10, 255), (0, 0, 50, 20))
    image.paste((250, 250, 250, 255), (0, 0, 25, 20))
    image.paste((250, 250, 250, 0), (0, 0, 2, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    held = io.BytesIO()
    image.save(held, "PNG", exif=exif)
    cutout = load_cutout(held.getvalue(), side=25)
    assert (cutout.width, cutout.height) == (20, 50)
    assert cutout.pixels.shape == (25, 10, 3)
    assert cutout.pixels[2, 5].min() > 200 and cutout.pixels[22, 5].max() < 60


def test_an_opaque_picture_is_read_as_ever() -> None:
    opaque = thing().convert("RGB")
    np.testing.assert_array_equal(load_cutout(opaque, side=50).pixels, load(opaque, side=50).pixels)
    opaque.putalpha(255)
    cutout = load_cutout(opaque)
    assert cutout.alpha is None
    np.testing.assert_array_equal(cutout.pixels, load(opaque).pixels)


def test_a_picture_of_nothing_is_refused() -> None:
    with pytest.raises(PictureError, match=r"^the image in memory: all of it is transparent"):
        load_cutout(Image.new("RGBA", (10, 10)))


def test_neither_margins_nor_hidden_colours_change_a_query(mini: Embedder) -> None:
    image = thing()
    margins = Image.new("RGBA", (400, 300), (0, 255, 0, 0))
    margins.paste(image, (70, 90), image.getchannel("A"))
    first, second = mini.queries([image, margins])
    assert (np.einsum("kd,kd->k", first, second) > 0.999).all()


def on(colour: str, image: Image.Image) -> Image.Image:
    """The picture with another colour where it is transparent."""
    changed = Image.new("RGB", image.size, colour)
    changed.paste(image, mask=image.getchannel("A"))
    changed.putalpha(image.getchannel("A"))
    return changed


def test_documents_are_pooled_under_their_alpha(mini: Embedder) -> None:
    image = Image.new("RGBA", (288, 288))
    image.paste(thing(), (96, 96))
    plain, other, white = mini.encode(
        [on("white", image), on("blue", image), on("white", image).convert("RGB")]
    )
    np.testing.assert_allclose(plain, other, atol=1e-3)
    np.testing.assert_allclose(mini.encode(image), plain, atol=1e-3)
    assert plain @ white < 0.9
    # Its colours are those of the disc: no white, and no magenta.
    assert plain[768 + TERMS.index("white")] < 0.5 * white[768 + TERMS.index("white")]


def test_regions_of_a_document_are_pooled_under_its_alpha(mini: Embedder) -> None:
    image = Image.new("RGBA", (256, 256))
    image.paste((200, 20, 30, 255), (0, 0, 128, 256))
    corner = {"image": image, "box": (64, 0, 192, 256)}
    everywhere = np.zeros((256, 256), bool)
    everywhere[:, 64:192] = True
    for item in (image, corner, {"image": image, "mask": everywhere}):
        shares = dict(zip(TERMS, 9 * mini.encode(item)[768:784] ** 2, strict=False))
        assert shares["red"] > 0.7 and shares["white"] < 0.01
    nothing = mini.encode({"image": image, "box": (192, 0, 256, 256)})
    assert np.linalg.norm(nothing) == pytest.approx(1, abs=1e-4)


def test_indexed_photos_are_what_encode_makes_of_them(mini: Embedder, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    image = Image.new("RGBA", (400, 300), (0, 255, 0, 0))
    image.paste(thing(160), (20, 40))
    image.save(photos / "sticker.png")
    image.quantize(256).save(photos / "palette.png")
    opaque = image.convert("RGB")
    opaque.putalpha(255)
    opaque.save(photos / "screenshot.png")
    opaque.convert("RGB").save(photos / "plain.png")
    Image.new("RGBA", (64, 64)).save(photos / "nothing.png")
    with Library(tmp_path / "library", embedder=mini) as library:
        report = library.index(photos)
        assert (report.indexed, report.problems) == (5, [])
        rows = {Path(path).name: row for path, row in whole_photos(library)}
        for name, row in rows.items():
            np.testing.assert_allclose(row, mini.encode(photos / name), atol=2e-3, err_msg=name)
        np.testing.assert_array_equal(rows["screenshot.png"], rows["plain.png"])
        colours = {name: 3 * row[768:] for name, row in rows.items()}
        assert colours["sticker.png"] @ colours["palette.png"] > 0.99
        assert colours["sticker.png"] @ colours["plain.png"] < 0.9
        # Proposals lie where something can be seen.
        regions = library.search(thing(160), find="regions", all_regions=True, top=100)
        boxes = [hit.box for hit in regions if hit.path.endswith(("sticker.png", "palette.png"))]
        assert boxes and all(box.x0 < 180 and box.y0 < 200 for box in boxes)
        (hit, *_) = library.search(photos / "sticker.png")
        assert (Path(hit.path).name, hit.score) == ("sticker.png", pytest.approx(1, abs=2e-3))


def whole_photos(library: Library) -> Iterator[tuple[str, np.ndarray]]:
    paths = {photo.photo_id: photo.paths[0] for photo in library.photos()}
    for block in library.vectors("photos"):
        for id, row in zip(block.ids.tolist(), block.vectors.astype(np.float32), strict=True):
            yield paths[id], row


def test_a_box_on_a_cutout_means_its_opaque_part(mini: Embedder) -> None:
    image = thing()
    opaque = np.asarray(image.getchannel("A")) > 127
    boxed = mini.query({"image": image, "box": (0, 0, 48, 96)})
    left = opaque & (np.arange(96) < 48)
    masked = mini.query({"image": image, "box": (0, 0, 48, 96), "mask": left})
    np.testing.assert_allclose(boxed, masked, atol=1e-6)
    with pytest.raises(PromptError, match="lies where the picture is transparent"):
        mini.query({"image": image, "box": (0, 0, 4, 4)})


def test_what_all_queries_do_encode_query_does(mini: Embedder) -> None:
    np.testing.assert_allclose(mini.encode_query(thing()), mini.query(thing())[0], atol=1e-6)
    with pytest.raises(InputError, match="input 1: the image in memory: all of it is transparent"):
        mini.encode_query([thing(), Image.new("RGBA", (9, 9))])

import numpy as np
import pytest
from PIL import Image, ImageDraw

from virtue.errors import InputError
from virtue.evaluation import recoloured


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Stamps of two things, and of one between them that belongs to the other half."""
    folder = tmp_path / "packages" / "usr" / "share" / "tuxpaint" / "stamps" / "vehicles"
    folder.mkdir(parents=True)
    for stem in ("bus", "other", "truck"):
        stamp = Image.new("RGBA", (200, 120), (0, 0, 0, 0))
        draw = ImageDraw.Draw(stamp)
        draw.rectangle((10, 30, 190, 90), fill=(225, 220, 230, 255))
        for left in (30, 140):
            draw.ellipse((left, 75, left + 35, 110), fill=(20, 20, 20, 255))
        stamp.save(folder / f"{stem}.png")
    monkeypatch.setattr(recoloured, "THINGS", {"bus": "bus", "truck": "truck"})
    return tmp_path / "packages"


def test_a_dyed_thing_keeps_its_outline_and_its_shades():
    stamp = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    ImageDraw.Draw(stamp).rectangle((10, 10, 49, 29), fill=(240, 240, 240, 255))
    ImageDraw.Draw(stamp).rectangle((10, 10, 19, 14), fill=(10, 10, 10, 255))
    dyed = np.asarray(recoloured.dye(stamp, "#c81e1e"))
    np.testing.assert_array_equal(dyed[..., 3], np.asarray(stamp)[..., 3])
    body, shade = dyed[25, 30].astype(int), dyed[12, 15].astype(int)
    assert body[0] > 180 and body[0] - body[1] > 80 and body[0] - body[2] > 80
    assert shade[:3].max() < 80


def test_pictures_of_each_thing_in_four_colours_are_ranked(packages):
    found = recoloured.evaluate(packages, each=True)
    assert found.facts["pictures"] == 8
    assert [row["words"] for row in found.facts["each"][:2]] == ["a red bus", "a yellow bus"]
    assert sorted({row["words"].split()[-1] for row in found.facts["each"]}) == ["bus", "truck"]
    places = [row["place"] for row in found.facts["each"]]
    assert all(1 <= place <= 8 for place in places)
    assert found.figures["recall@1"].value == sum(place == 1 for place in places) / 8
    assert found.figures["recall@5"].value == sum(place <= 5 for place in places) / 8
    assert (
        found.figures["right_of_four"].value == sum(row["right_of_four"] for row in found.facts["each"]) / 8
    )


def test_stamps_that_are_not_there_are_named(packages):
    next(packages.rglob("truck.png")).unlink()
    with pytest.raises(InputError, match=r"truck.*sample_photos"):
        recoloured.evaluate(packages)

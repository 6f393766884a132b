"""`virtue build scenes`: SCaR files of scenes, in the published columns."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.conftest import Run
from tests.training.drawn_cutouts import draw_cutouts
from virtue.errors import InputError
from virtue.training.scar_building import write_scenes
from virtue.training.scenes import Scenes, draw_grounds, read_cutouts


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    shapes = draw_cutouts(tmp_path_factory.mktemp("training") / "shapes")
    return Scenes(read_cutouts(shapes), draw_grounds(), length=8, seed=5, size=128)


def test_files_say_what_the_scenes_say(scenes: Scenes, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = write_scenes(scenes, tmp_path / "out", tell=lambda *counts: told.append(counts))
    assert told == [(number, 8) for number in range(1, 9)]
    rows = {
        name: pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist() for name in ("bound", "usual")
    }
    assert done.pictures == 8 and done.rows == {name: len(some) for name, some in rows.items()}
    expected: dict[bool, list[tuple[object, ...]]] = {True: [], False: []}
    for scene in scenes:
        picture = np.asarray(Image.open(tmp_path / "out" / "images" / f"{scene.index:06}.jpg"))
        assert np.abs(picture.astype(int) - scene.picture).mean() < 3
        for query in scene.queries:
            thing = scene.objects[query.object]
            texts = [caption.text for caption in query.captions]
            box = list(thing.box.xywh)
            expected[query.bound].append((f"{scene.index:06}.jpg", texts, box, list(query.swaps), query.twin))
            row = rows["bound" if query.bound else "usual"][len(expected[query.bound]) - 1]
            assert row["category"] == thing.name and row["image_id"] == f"{scene.index:06}"
            lengths = row["segmentation"]
            mask = coco_mask.decode(coco_mask.frPyObjects(lengths, *lengths["size"]))
            assert (mask == thing.mask).all()
    for is_bound, name in ((True, "bound"), (False, "usual")):
        columns = ("qry_image_path", "tgt_text", "bbox", "tgt_swap", "bound")
        assert [tuple(row[column] for column in columns) for row in rows[name]] == expected[is_bound]
    assert rows["bound"][0]["qry_text"].startswith("<|image_1|>\nFind the caption that best describes the ")
    with pytest.raises(InputError, match="holds files: name another folder, or force it"):
        write_scenes(scenes, tmp_path / "out")
    assert write_scenes(scenes, tmp_path / "out", force=True) == done


def test_the_command_writes_the_same_again_and_names_what_is_wrong(virtue: Run, tmp_path: Path) -> None:
    shapes = draw_cutouts(tmp_path / "shapes")
    words = (
        "build",
        "scenes",
        tmp_path / "a",
        "--cutouts",
        shapes,
        "--count",
        4,
        "--size",
        96,
        "--objects",
        "3",
    )
    done = virtue(*words)
    assert done.returncode == 0, done.stderr
    assert b"wrote 4 pictures into" in done.stderr and b"bound.parquet with 2 rows" in done.stderr
    assert virtue("build", "scenes", tmp_path / "b", *words[3:]).returncode == 0
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    again = virtue(*words)
    assert again.returncode == 2 and b"holds files" in again.stderr and b"--force" in again.stderr
    wrong = virtue(*words[:-1], "many")
    assert wrong.returncode == 2 and b"give the least and the most, as in 3-5" in wrong.stderr

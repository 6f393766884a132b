"""Work that another thread stops, and work in many threads at once."""

import asyncio
import threading
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import EXAMPLES
from tests.indexer.colours import ColourModel
from virtue import Library, Progress
from virtue.errors import StoppedError
from virtue.indexer import index
from virtue.store import open_store


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtue.indexer.commit_queue.MAX_PHOTOS", 4)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Thirty small photos."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (64, 48), (8 * number, 100, 255 - 8 * number)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.usefixtures("small_commits")
def test_indexing_stops_and_keeps_what_was_done(tmp_path: Path, many: Path) -> None:
    stop = threading.Event()

    def tell(progress: Progress) -> None:
        if progress.stage == "indexing" and library.count():
            stop.set()

    with Library(tmp_path / "library") as library:
        with pytest.raises(StoppedError, match="what was done is kept") as caught:
            library.index(many, regions=0, ocr=False, stop=stop, progress=tell, workers=1)
        kept = library.count()
        assert 0 < kept < 30
        assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]
        assert caught.value.__traceback__ is not None
        report = library.index(many)
        assert (report.indexed, library.count()) == (30 - kept, 30)
        assert library.verify() == []
        with pytest.raises(StoppedError):
            library.index(many, rehash=True, stop=stop)
        stop.clear()
        assert library.index(many, rehash=True, stop=stop).unchanged == 30


@pytest.mark.usefixtures("small_commits")
def test_a_reindex_that_was_stopped_goes_on_where_it_was(tmp_path: Path, many: Path) -> None:
    stop = threading.Event()
    with open_store(tmp_path / "library", create=True) as store:
        index(store, ColourModel(), [many], regions=0)

    def tell(progress: Progress) -> None:
        with library.store.read() as snapshot:
            new = [each for each in snapshot.generations() if not each.active]
            if new and any(state.settings for state in snapshot.files(new[0]).values()):
                stop.set()

    with Library(tmp_path / "library") as library:
        with pytest.raises(StoppedError):
            library.reindex("mini", stop=stop, progress=tell, workers=1)
        with library.store.read() as snapshot:
            assert snapshot.generation and snapshot.generation.dim == ColourModel().dim
            assert len(snapshot.generations()) == 2
        report = library.reindex("mini")
        assert 0 < report.reembedded < 30
        assert len(library.search("blue", top=30)) == 30 and library.verify() == []


def test_similar_export_and_tune_stop(library: Library, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    for path in (None, EXAMPLES / "photos", EXAMPLES / "photos" / "cat.jpg"):
        with pytest.raises(StoppedError):
            library.similar(path, stop=stop)
    with pytest.raises(StoppedError):
        library.export_parquet(tmp_path / "photos.parquet", stop=stop)
    assert not list(tmp_path.glob("photos.parquet*"))
    with open_store(library.folder) as store, store.write("test") as writer:
        writer.refresh_indexes(max_scanned_floats=0)
    with pytest.raises(StoppedError):
        library.tune(stop=stop)
    stop.clear()
    assert len(library.similar(stop=stop)) == 1
    assert library.export_parquet(tmp_path / "photos.parquet", stop=stop).photos == 4


def test_threads_share_one_library_through_asyncio(library: Library) -> None:
    queries = ["a cat", "a dog", "a rocket", EXAMPLES / "photos" / "coins.jpg"] * 6
    expected = [library.search(query, find="photos") for query in queries]

    async def ask() -> list[list[object]]:
        searches = (asyncio.to_thread(library.search, query, find="photos") for query in queries)
        *found, count, photos, many = await asyncio.gather(
            *searches,
            asyncio.to_thread(library.count, "rating > 3"),
            asyncio.to_thread(library.photos, order="-taken"),
            asyncio.to_thread(library.search_many, ["a cat"], find="photos"),
        )
        assert count == 2 and len(photos) == 4 and len(many) == 1
        return found

    assert asyncio.run(ask()) == expected


def test_threads_search_one_library_while_another_writes(library: Library, many: Path) -> None:
    async def work() -> int:
        indexing = asyncio.create_task(asyncio.to_thread(library.index, many, regions=0))
        searches = 0
        while not indexing.done():
            hits = await asyncio.gather(
                *(asyncio.to_thread(library.search, "a cat", top=1) for _ in range(4))
            )
            assert {hit.photo_id for (hit,) in hits}
            searches += 4
        assert (await indexing).indexed == 30
        return searches

    assert asyncio.run(work()) > 0
    assert library.count() == 34


def test_a_new_library_loads_its_model_once_for_all_threads(described: Path) -> None:
    with Library(described / "library", read_only=True) as library:
        start = threading.Barrier(6)

        async def ask() -> list[object]:
            def search() -> object:
                start.wait(10)
                return library.search("a cat", top=1), id(library.embedder), id(library.store)

            return await asyncio.gather(*(asyncio.to_thread(search) for _ in range(6)))

        found = asyncio.run(ask())
    assert len({(str(hits), model, store) for hits, model, store in found}) == 1  # type: ignore[misc]

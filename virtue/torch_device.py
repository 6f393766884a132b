"""Torch's devices, for the store and for models alike: which one is meant, how much memory it has, and what
to do when that runs out. Torch is loaded by the functions that need it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from virtue.distribution import install_hint
from virtue.errors import VirtueError

if TYPE_CHECKING:
    import torch

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

Result = TypeVar("Result")


def find_device(name: str | None, error: type[VirtueError]) -> torch.device:
    """Returns the device of this name.

    Args:
        name: "cpu", "cuda", "cuda:1" or "mps". None: CUDA where there is one, else the CPU.
        error: raised if there is no such device here, or no torch.
    """
    if find_spec("torch") is None:
        raise error(f"the device {name!r} needs torch: {install_hint('torch')}")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return torch.device("cuda" if count else "cpu")
    here = ["cpu", *["cuda"][:count], *(f"cuda:{number}" for number in range(count))]
    here += ["mps"] * torch.backends.mps.is_available()
    if name not in here:
        raise error(f"there is no device {name!r} here: use one of {', '.join(here)}")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def split_devices(given: str | None, error: type[VirtueError]) -> tuple[str | None, tuple[str, ...]]:
    """Returns the first device of a list with commas, and all of them if there are several.

    Args:
        given: names as `find_device` takes them, with commas between; None: none.
        error: raised if one has no name.
    """
    if given is None:
        return None, ()
    names = tuple(name.strip() for name in given.split(","))
    if not all(names):
        raise error(f"device={given!r} names a device without a name: separate them by single commas")
    return names[0], names if len(names) > 1 else ()


def has_cuda() -> bool:
    """Returns whether torch can work on a GPU. Torch takes seconds to load, so it is not loaded to learn that
    there is none."""
    if sys.modules.get("torch") is None and (find_spec("torch") is None or not _has_driver()):
        return False
    import torch

    return torch.cuda.is_available()


def cuda_devices() -> list[str]:
    """Returns the names of all GPUs that torch can work on."""
    if not has_cuda():
        return []
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _has_driver() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def free_memory(device: torch.device) -> tuple[int, int] | None:
    """Returns bytes that are free on a GPU, and all that it has; None: it is no GPU of CUDA's."""
    import torch

    return torch.cuda.mem_get_info(device) if device.type == "cuda" else None


def release_memory() -> None:
    """Lets other programs, and larger blocks, have the memory that torch keeps for later."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def attempt(work: Callable[[], Result]) -> Result | None:
    """Returns what `work` gives back; None if the memory of the device ran out.

    What the failed work held is let go of before this returns, since an error keeps the frames that it came
    through.
    """
    import torch

    try:
        return work()
    except torch.OutOfMemoryError:
        pass
    release_memory()
    return None


def run_in_blocks(count: int, size: int, work: Callable[[int, int], None]) -> None:
    """Calls `work(first, stop)` for blocks of `size` things until all `count` are done. Whenever the
    memory of the device is too small for a block, from there on blocks are half as large; `work` must
    have changed nothing until it has all the memory that it needs.

    Raises:
        torch.OutOfMemoryError: it is too small for a block of one.
    """

    def run_one() -> bool:
        work(first, stop)
        return True

    first, size = 0, min(size, count)
    while first < count:
        stop = min(count, first + size)
        if size == 1:
            work(first, stop)
        elif attempt(run_one) is None:
            size //= 2
            continue
        first = stop

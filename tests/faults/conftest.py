"""A small disk that really fills up, for the stages that a test starts on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# A mount that only its own processes see needs no rights where users may have namespaces, or else root.
WAYS = (("-U", "-r", "-m"), ("-m",))


def way_to_mount() -> tuple[str, ...] | None:
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return None
    for way in WAYS:
        command = ["unshare", *way, "sh", "-c", 'mount -t tmpfs none "$0"', "/tmp"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return way
    return None


class Disk:
    """A tmpfs of `size` bytes at `folder`, seen by the commands made with `command`; gone after the test."""

    def __init__(self, way: tuple[str, ...], folder: Path, size: int) -> None:
        self.folder = folder
        inside = 'mkdir -p "$0" && mount -t tmpfs -o size="$1" none "$0" && echo mounted && exec cat'
        self.holder = subprocess.Popen(
            ["unshare", *way, "sh", "-c", inside, str(folder), str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.holder.stdout.readline() == b"mounted\n"
        enter = ["-U", "--preserve-credentials"] if "-U" in way else []
        self.enter = ["nsenter", *enter, "-m", "-t", str(self.holder.pid), "--"]
        # Where this process, which has not mounted it, sees the disk. The path does not survive `resolve`.
        self.seen = Path(f"/proc/{self.holder.pid}/root{folder}")

    def command(self, words: list[str], cwd: Path) -> list[str]:
        """`words`, to be run in `cwd` where the disk is mounted."""
        return [*self.enter, "sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *words]

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.seen).free

    def leave(self, free: int) -> None:
        """Fill the disk until no more than `free` bytes are left."""
        with (self.seen / "ballast").open("ab") as file:
            if (more := self.free - free) > 0:
                os.posix_fallocate(file.fileno(), file.tell(), more)

    def make_room(self) -> None:
        (self.seen / "ballast").unlink()

    def copy(self, name: str, to: Path) -> Path:
        return Path(shutil.copytree(self.seen / name, to))

    def close(self) -> None:
        self.holder.communicate(timeout=10)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """small_disk(size): a disk of so many bytes; skips where a test may not mount one."""
    way = way_to_mount()
    if way is None:
        pytest.skip("a small disk of one's own needs Linux, and namespaces for users or root")
    made: list[Disk] = []

    def make(size: int) -> Disk:
        made.append(Disk(way, tmp_path / f"disk{len(made)}", size))
        return made[-1]

    yield make
    for disk in made:
        disk.close()

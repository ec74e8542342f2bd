"""A small disk that really fills up, and a line to the Hub that breaks when it is told to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
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


class Cut:
    """Stands between the client and the Hub, and breaks every connection that asks for `path` while `on`."""

    def __init__(self, target: int, path: bytes) -> None:
        self.target, self.path, self.on = target, path, True
        self.broken = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        hub = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self.copy, args=(hub, client), daemon=True).start()
        self.copy(client, hub, watch=True)

    def copy(self, source: socket.socket, target: socket.socket, watch: bool = False) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if watch and self.on and self.path in block:
                    self.broken += 1
                    break
                target.sendall(block)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if watch:
                end.close()


@pytest.fixture
def cut_at() -> Iterator[Callable[[int, bytes], Cut]]:
    """cut_at(port, path): such a line to the Hub at this port."""
    made: list[Cut] = []

    def make(port: int, path: bytes) -> Cut:
        made.append(Cut(port, path))
        return made[-1]

    yield make
    for cut in made:
        cut.server.close()

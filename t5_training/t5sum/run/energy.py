"""What training cost: time, and energy if the GPU's driver or the processor's counters report it."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path
from typing import Any

from t5sum.run.directory import read_json, write_json

NVML = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
COUNTERS = Path("/sys/class/powercap")  # Linux, usually readable by root only


class Meter:
    """Joules since it was made. `of` says of what: "GPU", "processor", or None if nothing is reported."""

    def __init__(self, gpus: list[str], library: str = NVML, counters: Path = COUNTERS) -> None:
        """gpus: the UUIDs of the GPUs that train; none for training on the CPU."""
        self.sources: list[Any] = open_gpus(gpus, library) if gpus else open_packages(counters)
        self.of = ("GPU" if gpus else "processor") if self.sources else None
        self.joules = 0.0
        self.last = [read() for read, _ in self.sources]

    def read(self) -> float | None:
        """Joules so far; None if nothing is reported. Read it often: a counter overflows within minutes."""
        for index, (read, range_) in enumerate(self.sources):
            value = read()
            if value is None or self.last[index] is None:
                self.sources, self.of = [], None  # a figure with a hole in it is none
                break
            gone = value - self.last[index]
            self.joules += gone if gone >= 0 else gone + range_
            self.last[index] = value
        return round(self.joules, 1) if self.sources else None


def open_gpus(uuids: list[str], library: str) -> list[Any]:
    """(reader in joules, 0) of every GPU, through NVIDIA's own library; nothing if one has no counter."""
    try:
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2():
            return []
        readers = []
        for uuid in uuids:
            handle = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
                return []
            readers.append((lambda handle=handle: millijoules(nvml, handle), 0.0))
    except (OSError, AttributeError):  # no driver, or one older than these functions
        return []
    return readers if all(read() is not None for read, _ in readers) else []


def millijoules(nvml: Any, handle: Any) -> float | None:
    """A GPU's counter since its driver was loaded, in joules; cards before Volta have none."""
    value = ctypes.c_ulonglong()
    try:
        failed = nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
    except AttributeError:
        return None
    return None if failed else value.value / 1000


def open_packages(folder: Path) -> list[Any]:
    """(reader in joules, value at which it overflows) of every processor package."""
    readers = []
    for path in sorted(folder.glob("intel-rapl:?")):
        try:
            if not (path / "name").read_text().startswith("package"):
                continue
            range_ = float((path / "max_energy_range_uj").read_text()) / 1e6
            if microjoules(path) is None:
                return []
        except (OSError, ValueError):
            return []
        readers.append((lambda path=path: microjoules(path), range_))
    return readers


def microjoules(path: Path) -> float | None:
    try:
        return float((path / "energy_uj").read_text()) / 1e6
    except (OSError, ValueError):
        return None


class Spent:
    """Time and energy of a run over all its processes, kept in a file at each checkpoint."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self.path, self.meter, self.start = path, meter, time.monotonic()
        self.before = read_json(path) if path.exists() else {"seconds": 0.0, "joules": 0.0}

    def note(self) -> dict[str, Any]:
        """Write and return {"seconds", "joules", "joules_of"}; joules is null if a part is unknown."""
        joules = self.meter.read()
        known = joules is not None and self.before["joules"] is not None
        spent = {
            "seconds": round(self.before["seconds"] + time.monotonic() - self.start, 1),
            "joules": round(self.before["joules"] + joules, 1) if known else None,
            "joules_of": self.meter.of if known else None,
        }
        write_json(self.path, spent)
        return spent

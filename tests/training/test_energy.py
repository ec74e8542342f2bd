"""Time and energy of a run, from what drivers tell; here from stand-ins for them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from t5sum.run.energy import Meter, Spent

# A driver that counts 2.5 J between two questions, and knows one GPU.
NVML = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *)0x7f0000000001;
    return strcmp(uuid, "GPU-one");
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
    static unsigned long long told = 5000000000000ULL;
    if (device != (void *)0x7f0000000001) return 1;
    *energy = told += 2500;
    return 0;
}
"""


@pytest.fixture
def driver(tmp_path: Path) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: the stand-in for NVIDIA's library cannot be built")
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    return str(library)


def test_a_gpu_is_asked_through_its_driver(driver: str) -> None:
    meter = Meter(["GPU-one"], driver)
    assert (meter.read(), meter.read(), meter.of) == (2.5, 5.0, "GPU")


def test_two_gpus_are_added_and_an_unknown_one_makes_the_sum_unknown(driver: str) -> None:
    assert (
        Meter(["GPU-one", "GPU-one"], driver).read() == 10.0
    )  # the one counter of the stand-in, asked twice
    assert Meter(["GPU-one", "GPU-two"], driver).read() is None


def test_without_a_driver_nothing_is_claimed(tmp_path: Path) -> None:
    meter = Meter(["GPU-one"], str(tmp_path / "absent.so"), tmp_path)
    assert meter.read() is None and meter.of is None


def package(folder: Path, number: int, microjoules: int, name: str = "package-0") -> Path:
    path = folder / f"intel-rapl:{number}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text("1000000000\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


def test_processor_packages_are_added_and_a_counter_may_run_over(tmp_path: Path) -> None:
    package(tmp_path, 0, 990_000_000)
    package(tmp_path, 1, 0)
    package(tmp_path, 2, 0, "psys")  # holds the packages: counting it would count them twice
    meter = Meter([], counters=tmp_path)
    package(tmp_path, 0, 4_000_000)
    package(tmp_path, 1, 6_000_000)
    package(tmp_path, 2, 90_000_000, "psys")
    assert (meter.read(), meter.of) == (20.0, "processor")


def test_a_counter_that_falls_silent_makes_the_figure_unknown(tmp_path: Path) -> None:
    path = package(tmp_path, 0, 0)
    meter = Meter([], counters=tmp_path)
    (path / "energy_uj").unlink()
    assert meter.read() is None and meter.of is None


def test_a_run_that_was_stopped_adds_up(tmp_path: Path) -> None:
    file = tmp_path / "spent.json"
    file.write_text(json.dumps({"seconds": 100.0, "joules": 50.0, "joules_of": "processor"}))
    package(tmp_path, 0, 0)
    spent = Spent(file, Meter([], counters=tmp_path))
    package(tmp_path, 0, 7_000_000)
    told = spent.note()
    assert told == json.loads(file.read_text())
    assert (told["joules"], told["joules_of"]) == (57.0, "processor") and 100 <= told["seconds"] < 160
    later = Spent(file, Meter([], counters=tmp_path / "none")).note()
    assert later["joules"] is None and later["seconds"] >= told["seconds"]

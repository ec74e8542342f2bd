"""Settings of CTranslate2, numpy and malloc for this computer. Call `prepare` before they are imported."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_PAGES = Path("/proc/self/statm")
_M_ARENA_MAX = -8  # of malloc.h


def prepare() -> None:
    """Set environment variables of the libraries; those that are set already stay."""
    # A translator uses one core: numpy and CTranslate2 must not start more threads inside of it (two threads
    # in one translation were slower than one).
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if CPU_INFO.exists() and wide(CPU_INFO.read_text()):
        os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
    _one_arena()


def _one_arena() -> None:
    """Make all threads use one heap. glibc gives each thread its own, and one translator cannot use what
    another freed: a tenth of the memory with batches. Too little is allocated here for threads to wait."""
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_memory_back() -> None:
    """Return freed memory to the system. glibc keeps it after loading a model or many long texts: 90 of
    590 MB were measured."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes that this process has in memory now; 0 if the system does not say."""
    try:
        return int(MEMORY_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def wide(cpu_info: str) -> bool:
    """Whether AVX-512 should be used, by the text of /proc/cpuinfo.

    CTranslate2 uses AVX2 on Intel by default, because early processors with AVX-512 slow down when they use
    it. Those since Ice Lake (they have VBMI2) hardly do: a beam search took 10% less processor time. On a
    fourth-generation AMD EPYC it took 0 to 3% less, so nothing is changed there.
    """
    intel = "GenuineIntel" in cpu_info
    flags = next((line.split() for line in cpu_info.splitlines() if line.startswith("flags")), [])
    needed = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi2"}
    return intel and needed <= set(flags)

"""The disk the databases are on: what an fsync costs there decides what a durable turn can cost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter

import psutil

from bench.figures import percentile


def file_system(folder: Path) -> str:
    """The kind of file system of a folder; on tmpfs an fsync costs nothing and the figures flatter."""
    path = folder.resolve()
    mounts = sorted(psutil.disk_partitions(all=True), key=lambda mount: len(mount.mountpoint), reverse=True)
    return next((mount.fstype for mount in mounts if path.is_relative_to(mount.mountpoint)), "unknown")


def fsync_ms(folder: Path, times: int = 20) -> float:
    """The median time to append 4 KiB and see it on disk."""
    taken: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(times):
            started_at = perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append((perf_counter() - started_at) * 1000)
    return percentile(taken, 50)

"""`python -m bench.profiled FILE serve ...`: the `handrail` command, with its CPU time split by rail.

A timer on CPU time interrupts the event loop's thread every few milliseconds; what that thread has used since the last
interruption counts for the rail of the innermost frame that belongs to one. So all of its time is counted, C code with
the Python that called it, at a cost too small to see. SIGUSR1 begins anew, SIGUSR2 writes FILE.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import orjson

from bench.rails import RAILS, Rail, rail_of_stack
from handrail.cli import main

INTERVAL_SECONDS = 0.002


class Sampler:
    """The split so far, in seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reset(0, None)

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._reset)
        signal.signal(signal.SIGUSR2, self._write)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    def _reset(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._seconds: dict[Rail, float] = dict.fromkeys(RAILS, 0.0)
        self._seen = time.thread_time()
        self._others_before = _other_threads_seconds()
        self._readers_before = _readers_seconds()

    def _sample(self, number: int, frame: FrameType | None) -> None:
        del number
        now = time.thread_time()
        self._seconds[self._owner(frame)] += now - self._seen
        self._seen = now

    def _owner(self, frame: FrameType | None) -> Rail:
        paths: list[str] = []
        while frame is not None:
            paths.append(frame.f_code.co_filename)
            frame = frame.f_back
        return rail_of_stack(paths)

    def _write(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        # Beside the loop there are the commits of the database's writer, and tools; and the threads in which keepers
        # read, for no turn of these loads is read for there.
        readers = _readers_seconds() - self._readers_before
        others = _other_threads_seconds() - self._others_before - readers
        seconds = {
            **self._seconds,
            "floor": self._seconds["floor"] + others,
            "background": self._seconds["background"] + readers,
        }
        half = self._file.with_suffix(".half")
        half.write_bytes(orjson.dumps(seconds))
        half.replace(self._file)


def _readers_seconds() -> float:
    """What the threads of `asyncio.to_thread` have used, by the scheduler's own account."""
    readers = [each for each in threading.enumerate() if each.name.startswith("asyncio_")]
    texts = [Path(f"/proc/self/task/{each.native_id}/schedstat").read_text() for each in readers]
    return sum(int(text.split()[0]) for text in texts) / 1e9


def _other_threads_seconds() -> float:
    return time.process_time() - time.thread_time()


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    Sampler(Path(sys.argv.pop(1))).start()
    gc.collect()
    main()

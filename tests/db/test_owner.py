import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from handrail.db.owner import AlreadyServed, OwnerLock

HOLD = """
import sys, time
from pathlib import Path
from handrail.db.owner import OwnerLock
lock = OwnerLock(Path(sys.argv[1]))
lock.acquire("http://127.0.0.1:8080")
print("held", flush=True)
time.sleep(60)
"""


class TestOwnerLock:
    def test_is_refused_to_a_second_process_with_the_address_of_the_first(self, tmp_path: Path) -> None:
        first = OwnerLock(tmp_path)
        first.acquire()
        first.announce("http://127.0.0.1:8080")

        with pytest.raises(
            AlreadyServed, match=rf"in use by process {os.getpid()} at http://127\.0\.0\.1:8080"
        ) as held:
            OwnerLock(tmp_path).acquire()

        assert held.value.address == "http://127.0.0.1:8080"
        first.release()

    def test_is_free_again_after_release(self, tmp_path: Path) -> None:
        for _ in range(2):
            lock = OwnerLock(tmp_path / "new")
            lock.acquire("http://127.0.0.1:1")
            lock.release()

    def test_of_another_folder_is_another_lock(self, tmp_path: Path) -> None:
        locks = [OwnerLock(tmp_path / name) for name in "ab"]
        for lock in locks:
            lock.acquire()
        for lock in locks:
            lock.release()

    def test_is_let_go_when_its_process_is_killed(self, tmp_path: Path) -> None:
        with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(AlreadyServed, match=str(process.pid)):
                OwnerLock(tmp_path).acquire()
            process.send_signal(signal.SIGKILL)

        lock = OwnerLock(tmp_path)
        lock.acquire()
        lock.release()

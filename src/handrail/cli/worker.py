"""`python -m handrail.cli.worker`: one of the processes of `handrail serve --workers N`, started by its supervisor."""

import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from handrail.cli.workers import Job
from handrail.core import json
from handrail.core.errors import HandrailError


def main() -> None:
    """Do what standard input says: `prepare` the releases, or `serve` until told to stop."""
    what = sys.argv[1]
    told: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    job = Job(**told)
    try:
        if what == "serve":
            _share_metrics(job.index)
            threading.Thread(target=_end_with_supervisor, daemon=True).start()
        # Only now: metrics look for their files when they are first imported.
        from handrail.cli.certificate import ServerLoop
        from handrail.cli.serve import prepare_releases, serve_as_worker
        from handrail.settings import read_settings

        settings = read_settings(**job.settings)
        with asyncio.Runner(loop_factory=ServerLoop) as runner:
            if what == "prepare":
                made = runner.run(prepare_releases(Path(job.project), settings, job.tenants))
                print(json.dumps(made), flush=True)
            else:
                listener = socket.socket(fileno=job.listener)
                runner.run(serve_as_worker(listener, settings, job.agent, job.tenants))
    except HandrailError as error:
        print(f"handrail: {error.message}", file=sys.stderr)
        sys.exit(1)


def _share_metrics(index: int) -> None:
    """Count in files named after the place of this worker: who takes the place of a dead one counts on."""
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: index)


def _end_with_supervisor() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()

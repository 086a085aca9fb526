"""Starts `handrail serve` in a fraction of a second: all is imported once, then every server is a fork of this process.

Runs as a process of its own and takes orders as lines of JSON: `start` (answered with the pid), `signal` (answered when
a process that was killed is gone). Before the fork there is no thread, no event loop, no connection and no random state
in use, so a child is what a fresh interpreter would be. When its standard input ends, it kills what is left.
"""

import contextlib
import gc
import json
import os
import signal
import sys
from typing import Any


def main() -> None:
    import alembic.command
    import asyncpg

    import handrail.cli.serve
    import handrail.db.postgres
    from handrail.cli.app import app

    _ = alembic.command, asyncpg, handrail.cli.serve, handrail.db.postgres
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    _answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            child = os.fork()
            if child == 0:
                _become(order, app)
            children.add(child)
            _answer({"pid": child})
        elif order["pid"] in children:
            _answer({"code": _signal(order["pid"], order["signal"], children)})
    for child in children:
        _signal(child, signal.SIGKILL, set())


def _signal(child: int, number: int, children: set[int]) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
    if number in (signal.SIGSTOP, signal.SIGCONT):
        return None
    _, status = os.waitpid(child, 0)
    children.discard(child)
    return os.waitstatus_to_exitcode(status)


def _become(order: dict[str, Any], app: Any) -> None:
    """The child: `handrail ARGUMENTS` as if it had been started from a shell."""
    code = 1
    try:
        out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        os.environ.update(order["env"])
        os.chdir(order["home"])
        sys.argv = ["handrail", *order["arguments"]]
        app()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def _answer(body: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

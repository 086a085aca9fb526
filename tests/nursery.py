"""Starts `handrail` in a tenth of a second: all is imported once, then every command is a fork of this process.

Runs as a process of its own and takes orders as lines of JSON: `start` (answered with the pid), and `poll` (answered
with the exit code, or null while it runs). Before the fork there is no thread, no event loop, no connection and no
random state in use, so a child is what a fresh interpreter would be. When its standard input ends, it kills what is
left.
"""

import contextlib
import gc
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any


def main() -> None:
    import alembic.command
    import asyncpg
    import uvicorn.protocols.websockets.websockets_sansio_impl

    import handrail.cli.serve
    import handrail.db.postgres
    import handrail.jobs.durable
    import handrail.jobs.work

    _ = alembic.command, asyncpg, uvicorn, handrail
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    _answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            child = os.fork()
            if child == 0:
                _become(order)
            children.add(child)
            _answer({"pid": child})
        else:
            _answer({"code": _code(order["pid"], children)})
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _code(child: int, children: set[int]) -> int | None:
    ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        return None
    children.discard(child)
    return os.waitstatus_to_exitcode(status)


def _become(order: dict[str, Any]) -> None:
    """The child: `python -m handrail.cli ARGUMENTS`, or of another program, as if it had been started from a shell."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for target, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), target)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["home"])
        sys.argv = [order["program"], *order["arguments"]]
        _run(order["program"])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(program: str) -> None:
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _answer(body: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

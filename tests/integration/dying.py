"""`handrail` in a process that is killed at one point of a decision: the argument before the command says which.

`decided`: right after the decision is committed, before its turn goes on.
`claimed`: right after the turn is claimed for going on, before it runs.
"""

import os
import signal
import sys
from typing import Any

from handrail.cli import app
from handrail.flows import approval, resume


async def _die_async(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    point = sys.argv.pop(1)
    if point == "decided":
        approval.go_on = _die_async  # pyright: ignore[reportAttributeAccessIssue]
    else:
        resume.run = _die  # pyright: ignore[reportAttributeAccessIssue]
    app.app()

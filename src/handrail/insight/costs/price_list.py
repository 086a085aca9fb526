"""The shipped price list, asked in a process of its own; what it said is kept in a file for the next start.

Open: without an answer prices are unknown, the cost of calls stays empty, and turns go on.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from handrail.core import json
from handrail.insight.costs import lookup
from handrail.insight.costs.book import Asked
from handrail.insight.costs.prices import Price
from handrail.telemetry.logging import logger

SECONDS = 30.0
PACKAGE = "genai-prices"


class PriceList:
    """Callable as a book's `look_up`.

    Args:
        file: where answers are kept; they hold as long as the list's version does.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    async def __call__(self, asked: Sequence[Asked]) -> Mapping[Asked, Price | None]:
        kept = await asyncio.to_thread(self._read)
        missing = [each for each in asked if _name(each) not in kept]
        if missing:
            kept |= dict(zip(map(_name, missing), await self._ask(missing), strict=False))
            await asyncio.to_thread(self._write, kept)
        source = _list()
        return {each: Price.found(body, source) for each in asked if (body := kept.get(_name(each)))}

    async def _ask(self, asked: Sequence[Asked]) -> Sequence[Any]:
        """One schedule each; none at all when the list can't be read."""
        # -P: the folder of the program is no place to import from.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", lookup.__file__,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS):
                said, problem = await process.communicate(json.dumps(asked).encode())
            if process.returncode == 0:
                return json.loads(said)["prices"]
            logger().warning("the price list could not be read", error=problem.decode(errors="replace")[-500:])
        except TimeoutError:
            logger().warning("the price list gave no answer", seconds=SECONDS)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return ()

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._file.read_bytes())
            return dict(kept["prices"]) if kept["list"] == _list() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self, kept: Mapping[str, Any]) -> None:
        """Whole or not at all; a folder that can't be written costs a look-up at the next start."""
        draft = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({"list": _list(), "prices": dict(kept)}))
            draft.replace(self._file)
        except OSError as error:
            logger().warning("prices could not be kept", file=str(self._file), error=str(error))


def _name(asked: Asked) -> str:
    return " ".join(asked)


def _list() -> str:
    try:
        return f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return f"{PACKAGE} (missing)"

"""Where the tools of the test project do their work: each test says what happens there and sees what was asked."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from handrail.core.tools import ToolContext


class Desk:
    """`acts` maps a tool's name to what it does with its arguments; a tool without an act answers `{"ok": True}`."""

    def __init__(self) -> None:
        self.acts: dict[str, Callable[..., Any]] = {}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.contexts: list[ToolContext] = []
        self.at_work = 0
        self.most_at_work = 0

    def clear(self) -> None:
        self.__init__()

    async def do(self, name: str, context: ToolContext, **arguments: Any) -> Any:
        self.seen.append((name, arguments))
        self.contexts.append(context)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            await asyncio.sleep(0)
            act = self.acts.get(name)
            done = act(**arguments) if act else {"ok": True}
            return await done if inspect.isawaitable(done) else done
        finally:
            self.at_work -= 1

    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


desk = Desk()

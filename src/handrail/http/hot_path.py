"""The requests of every turn, served before the framework's own layers: those cost 0.3 ms a request.

FastAPI's own copies of these routes document them, and serve them under a root path.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from handrail.http import errors
from handrail.http.routes import chat_completions, conversations

Handler = Callable[[Request], Awaitable[Response]]

_TURNS = re.compile("/v1/conversations/([^/]+)/turns")
_HANDLERS: Mapping[str, Handler] = {
    "/v1/conversations": conversations.create_conversation,
    "/v1/chat/completions": chat_completions.create_chat_completion,
}


class HotPath:
    """Serves what every turn passes, and hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _handler(scope)
        if handler is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the one table of errors knows them all
            scope["endpoint"] = getattr(handler, "func", handler)
            response = await errors.handle(request, error)
        await response(scope, receive, send)


def _handler(scope: Scope) -> Handler | None:
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    path: str = scope["path"]
    turns = _TURNS.fullmatch(path)
    if turns is not None:
        return partial(_create_turn, turns[1])
    return _HANDLERS.get(path)


async def _create_turn(conversation_id: str, request: Request) -> Response:
    return await conversations.create_turn(request, conversation_id)

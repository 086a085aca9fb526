"""Forms of feedback: thumbs, words and a rating on the chat page, and the page on which staff see and give it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, customer_of, services_of
from handrail.console.door import Door, Fields, fields_of, foreign_form, last_of, too_long
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.flows.feedback import WRITERS, FeedbackWanted, give_feedback, newest_feedback
from handrail.insight.feedback import Feedback, FeedbackKind
from handrail.protection.auth import Scope

MOST_SHOWN = 50
MOST_COMMENT = 2000
KINDS = get_args(FeedbackKind)
KIND_NAMES: Mapping[str, str] = {
    "thumb": "Thumb: 1 up, -1 down",
    "csat": "Satisfaction (CSAT): 1 to 5",
    "nps": "Would recommend (NPS): 0 to 10",
    "resolved": "Was it resolved: 1 yes, 0 no",
    "text": "Words alone",
}


@dataclass(frozen=True, slots=True)
class FeedbackPage:
    """The routes of both."""

    renderer: Renderer

    async def from_chat(self, request: Request) -> Response:
        """Take what the user of a conversation says by a plain form of the chat page."""
        if (refused := foreign_form(self.renderer, request, "chat")) is not None:
            return refused
        principal, fields = await customer_of(request), await fields_of(request)
        if principal is None:
            return self._refused(401, "A plain form can't carry an API key", "Turn scripts on for the chat page.")
        if fields is None:
            return too_long(self.renderer, "chat")
        conversation_id = last_of(fields, "conversation")
        kind = "csat" if last_of(fields, "kind") == "csat" else "thumb" if last_of(fields, "score") else "text"
        try:
            await give_feedback(services_of(request), principal, conversation_id, _wanted(fields, kind))
        except HandrailError as error:
            return self._refused(_status(error), "That feedback could not be taken", f"{error.message}.")
        return RedirectResponse(f"/console/chat?{urlencode({'conversation': conversation_id})}#newest", 303)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def post(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Take what staff say of a conversation; a mistake shows the page again with what to do."""
        kind, conversation_id = last_of(fields, "kind"), last_of(fields, "conversation").strip()
        if kind not in KINDS:
            return await self._page(request, visitor, "Say what kind of feedback it is.", 422, fields)
        try:
            wanted = _wanted(fields, cast(FeedbackKind, kind))
            await give_feedback(services_of(request), visitor.principal, conversation_id, wanted)
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", _status(error), fields)
        return RedirectResponse("/console/feedback", 303)

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        error: str | None = None,
        status: int = 200,
        fields: Fields | None = None,
    ) -> Response:
        found = await newest_feedback(services_of(request), visitor.principal, None, before=None, limit=MOST_SHOWN)
        asked = request.query_params
        return self.renderer.page(
            "feedback.html",
            current="feedback",
            visitor=visitor,
            status=status,
            error=error,
            kinds=KIND_NAMES,
            most=MOST_SHOWN,
            feedback=[line_of(each) for each in found],
            given={
                name: last_of(fields, name) if fields else asked.get(name, "")
                for name in ("conversation", "turn", "kind", "score", "comment")
            },
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="chat", status=status, title=title, reason=reason)


def line_of(each: Feedback) -> Mapping[str, Any]:
    """One word of somebody as a line: what it means, and where the turn stands that it is about."""
    anchor = f"#{each.turn_id}" if each.turn_id else ""
    return each.body() | {
        "what": meaning(each.kind, each.score),
        "is_bad": is_bad(each.kind, each.score),
        "about": " · ".join(filter(None, (each.agent, each.intent, "" if each.turn_id else "the conversation"))),
        "href": f"/console/conversations/{each.conversation_id}{anchor}",
    }


def meaning(kind: FeedbackKind, score: int | None) -> str:
    """A score in words."""
    match kind:
        case "thumb":
            return "Thumbs up" if score == 1 else "Thumbs down"
        case "csat":
            return f"Satisfaction {score} of 5"
        case "nps":
            return f"Would recommend: {score} of 10"
        case "resolved":
            return "Resolved" if score else "Not resolved"
        case "text":
            return "Comment"


def is_bad(kind: FeedbackKind, score: int | None) -> bool:
    """Whether somebody should look."""
    worst = {"thumb": -1, "csat": 2, "nps": 6, "resolved": 0}.get(kind)
    return score is not None and worst is not None and score <= worst


def _wanted(fields: Fields, kind: FeedbackKind) -> FeedbackWanted:
    score, comment = last_of(fields, "score").strip(), last_of(fields, "comment").strip()
    if len(comment) > MOST_COMMENT:
        raise UsageError(f"a comment has at most {MOST_COMMENT} characters", param="comment")
    if score and not (score.lstrip("-").isascii() and score.lstrip("-").isdigit() and len(score) <= 3):
        raise UsageError(f"the score {score[:20]!r} is not a number", param="score")
    return FeedbackWanted(kind, int(score) if score else None, comment or None, last_of(fields, "turn").strip() or None)


def _status(error: HandrailError) -> int:
    if isinstance(error, NotFound):
        return 404
    return {"rate_limited": 429, "permission_denied": 403}.get(
        error.code, 422 if isinstance(error, UsageError) else 503
    )


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = FeedbackPage(renderer), Door(renderer)
    app.add_route("/console/chat/feedback", page.from_chat, methods=["POST"], include_in_schema=False)
    show = door.shows("feedback", page.show, Scope.FEEDBACK_READ, *STAFF)
    app.add_route("/console/feedback", show, include_in_schema=False)
    take = door.takes("feedback", page.post, Scope.FEEDBACK_WRITE, *WRITERS)
    app.add_route("/console/feedback", take, methods=["POST"], include_in_schema=False)

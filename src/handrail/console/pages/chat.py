"""The chat page: talk to an agent. The script streams; without it the same page is a form that waits for the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import customer_of, is_same_origin, services_of, visitor_of_open_page
from handrail.console.agent_card import AgentCard, AgentCards
from handrail.console.rendering import Renderer
from handrail.console.transcript import QuestionLine, ToolLine, TurnLine, transcript
from handrail.core.answers import Awaiting
from handrail.core.clock import iso
from handrail.core.errors import HandrailError, UsageError
from handrail.core.principal import Principal
from handrail.flows.conversations import open_conversation
from handrail.flows.question import Waiting, answer_question, waiting_in
from handrail.flows.services import Services
from handrail.flows.shown import calls_shown
from handrail.flows.turn import take_turn
from handrail.serving.conversations import Conversation

MOST_MESSAGES = 200
MOST_CONVERSATIONS = 30
MOST_FORM_BYTES = 256 * 1024
_STATUSES = {"not_found": 404, "conversation_busy": 409, "rate_limited": 429, "tenant_overloaded": 429}


@dataclass(frozen=True, slots=True)
class ConversationLine:
    id: str = ""
    created_at: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What a plain form post brings."""

    message: str
    conversation_id: str | None
    agent: str | None

    @classmethod
    def parse(cls, body: bytes) -> "Form":
        """A quick reply sends the empty text field too: the last words count."""
        fields = parse_qs(body.decode(errors="replace"), keep_blank_values=False)
        said = fields.get("message", [""])[-1].replace("\r\n", "\n")
        return cls(said, fields.get("conversation", [None])[-1], fields.get("agent", [None])[-1])


@dataclass(frozen=True, slots=True)
class ChatPage:
    """The page's routes."""

    renderer: Renderer
    cards: AgentCards

    async def home(self, _request: Request) -> Response:
        return RedirectResponse("/console/chat", 307)

    async def show(self, request: Request) -> Response:
        query = request.query_params
        return await self._page(request, query.get("conversation"), query.get("agent"))

    async def post(self, request: Request) -> Response:
        """Take the turn, wait for its end, and show the conversation."""
        if not is_same_origin(request):
            return self._refused(403, "This form did not come from this page", "Open the chat page and send it again.")
        principal = await customer_of(request)
        if principal is None:
            return self._refused(
                401,
                "A plain form can't carry an API key",
                "This server has API keys. Turn scripts on for the chat page, which then asks for a key, or use "
                "`handrail chat --key` in a terminal.",
            )
        body = await request.body()
        if len(body) > MOST_FORM_BYTES:
            return self._refused(413, "That message is too long", f"A form has at most {MOST_FORM_BYTES} bytes.")
        form = Form.parse(body)
        try:
            conversation_id = await _say(services_of(request), principal, form)
        except HandrailError as error:
            return await self._page(request, form.conversation_id, form.agent, error=error, draft=form.message)
        return RedirectResponse(f"/console/chat?{urlencode({'conversation': conversation_id})}#newest", 303)

    async def answer(self, request: Request) -> Response:
        """Take the answer to an approver's question from a plain form."""
        if not is_same_origin(request):
            return self._refused(403, "This form did not come from this page", "Open the chat page and answer there.")
        principal = await customer_of(request)
        if principal is None:
            return self._refused(401, "A plain form can't carry an API key", "Turn scripts on for the chat page.")
        body = (await request.body())[:MOST_FORM_BYTES]
        fields = {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}
        conversation_id = fields.get("conversation", "")
        try:
            question, said = fields.get("question", ""), fields.get("answer", "")
            await answer_question(services_of(request), principal, fields.get("turn", ""), question, said)
        except HandrailError as error:
            return await self._page(request, conversation_id or None, None, error=error)
        return RedirectResponse(f"/console/chat?{urlencode({'conversation': conversation_id})}#newest", 303)

    async def _page(
        self,
        request: Request,
        conversation_id: str | None,
        agent: str | None,
        *,
        error: HandrailError | None = None,
        draft: str = "",
    ) -> Response:
        services, principal = services_of(request), await customer_of(request)
        conversation: Conversation | None = None
        card = AgentCard()
        try:
            if principal is not None:
                if conversation_id:
                    conversation = await services.conversations.require(principal, conversation_id)
                    agent = conversation.agent
                card = await self.cards.find(services, principal.tenant_id, agent)
        except HandrailError as failure:
            error = error or failure
        turns = await _turns(services, conversation) if conversation else None
        said = await own_words(services, principal, conversation) if principal and conversation else {}
        return self.renderer.page(
            "chat.html",
            current="chat",
            visitor=await visitor_of_open_page(request),
            status=_status(error),
            agent=card,
            agent_query=card.query,
            conversation_id=conversation_id,
            conversations=await _conversations(services, principal) if principal else None,
            turns=[replace(each, thumb=said.get((each.id, "thumb"))) for each in turns] if turns is not None else None,
            asks_csat=services.feedback_rules.csat,
            csat=said.get((conversation_id, "csat")),
            replies=replies_to(conversation.awaiting if conversation else None, card),
            needs_key=principal is None,
            error=f"{error.message}." if error else None,
            draft=draft,
            blank_turn=TurnLine(),
            blank_tool=ToolLine(),
            blank_conversation=ConversationLine(),
            blank_question=QuestionLine(),
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="chat", status=status, title=title, reason=reason)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page = ChatPage(renderer, AgentCards())
    app.add_route("/", page.home, include_in_schema=False)
    app.add_route("/console", page.home, include_in_schema=False)
    app.add_route("/console/chat", page.show, include_in_schema=False)
    app.add_route("/console/chat", page.post, methods=["POST"], include_in_schema=False)
    app.add_route("/console/chat/answer", page.answer, methods=["POST"], include_in_schema=False)


async def _say(services: Services, principal: Principal, form: Form) -> str:
    """Take one turn to its end; returns the conversation's id."""
    conversation_id = form.conversation_id
    async with services.admission.admit(principal.tenant_id) as place:
        if conversation_id is None:
            opened = await open_conversation(services, principal, form.agent, channel="console")
            conversation_id = opened.id
        stream = await take_turn(services, principal, conversation_id, form.message, place=place)
    await stream.wait()
    return conversation_id


async def _turns(services: Services, conversation: Conversation) -> Sequence[TurnLine]:
    messages = await services.conversations.messages(conversation, limit=MOST_MESSAGES)
    calls = await calls_shown(services, conversation)
    waiting = await waiting_in(services, conversation.tenant_id, conversation.id)
    return [_waiting(line, waiting.get(line.id, ())) for line in transcript(messages, calls)]


async def own_words(
    services: Services, principal: Principal, conversation: Conversation
) -> Mapping[tuple[str | None, str], int | None]:
    """By turn (or the conversation) and kind, the scores that this user gave."""
    given = await services.feedback.of_conversation(conversation.tenant_id, conversation.id)
    return {
        (each.about, each.kind): each.score
        for each in given
        if each.given_by == principal.subject and each.replaced_at is None
    }


def _waiting(line: TurnLine, waiting: Sequence[Waiting]) -> TurnLine:
    """A turn that waits for people says until when, and what they ask."""
    if not waiting:
        return line
    asked = tuple(QuestionLine(each.id, each.question, each.answer) for one in waiting for each in one.questions)
    return replace(line, waits_until=iso(min(each.approval.expires_at for each in waiting)), questions=asked)


async def _conversations(services: Services, principal: Principal) -> list[ConversationLine]:
    found = await services.conversations.newest(principal, limit=MOST_CONVERSATIONS)
    return [ConversationLine(each.id, iso(each.created_at), each.title or "") for each in found]


def replies_to(awaiting: Awaiting | None, card: AgentCard) -> list[str]:
    """Likely answers to what the conversation waits for, when they can be guessed."""
    if awaiting is None:
        return []
    if awaiting.kind in ("confirm", "flow_confirm"):
        return ["Yes", "No"]
    if awaiting.kind == "clarify":
        return [card.titles.get(str(each), str(each)) for each in awaiting.state.get("choices", ())]
    return []


def _status(error: HandrailError | None) -> int:
    if error is None:
        return 200
    return _STATUSES.get(error.code, 422 if isinstance(error, UsageError) else 503)

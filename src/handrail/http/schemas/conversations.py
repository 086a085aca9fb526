"""Conversations, turns and messages, and the same as chat completions."""

from typing import Literal

from pydantic import Field

from handrail.core import events
from handrail.core.messages import MessageRole
from handrail.flows.route import Action
from handrail.http.schemas.shared import SOMETIMES, At, Failure, Page, Resource
from handrail.serving.conversations import TurnStatus
from handrail.serving.resilience import Rung

Awaited = Literal["confirm", "clarify", "slot", "flow_confirm"]


class Part(Resource):
    """A piece of a text; `is_found` when it is what was searched for."""

    text: str
    is_found: bool


class Conversation(Resource):
    """A dialogue of one user with one agent."""

    id: str
    object: Literal["conversation"]
    agent: str
    release_id: str
    title: str | None
    created_at: At


class ListedConversation(Conversation):
    """A line of a list; of a search, with the text around what was found."""

    match: list[Part] = SOMETIMES


class Looked(Resource):
    """How a search went."""

    opened: int = Field(ge=0, description="So many conversations were opened to be sure.")
    is_cut: bool = Field(description="There are more to open than one answer does: go on with the cursor.")
    waiting: int = Field(ge=0, description="So many are not in the index yet with all that was said in them.")
    left_out: list[str] = Field(description="Words too short or too frequent to be searched for.")
    has_identifier: bool = Field(
        description="Something in the words is an identifier: send that to `POST /v1/conversations/search`."
    )


class ConversationList(Page[ListedConversation]):
    """Newest first."""

    search: Looked = SOMETIMES


class ToolCall(Resource):
    """A tool the agent asked for."""

    id: str
    name: str
    arguments: str = Field(description="JSON text.")


class Message(Resource):
    """One part of the transcript."""

    id: str
    turn_id: str
    role: MessageRole
    content: str
    tool_calls: list[ToolCall]
    sources: list[str]
    created_at: At


class ConversationWithMessages(Conversation):
    """A conversation, its newest messages, and what it waits for from the user."""

    messages: list[Message]
    awaiting: Awaited | None


class Answer(Resource):
    """The agent's words."""

    id: str
    content: str


class Route(Resource):
    """How a message was understood, and what was done with it."""

    action: Action
    intent: str | None
    confidence: float | None = Field(ge=0, le=1)
    reason: str
    choices: list[str]


class Usage(Resource):
    """Tokens and cost of the turn's model calls; null when no model said how many."""

    input_tokens: int | None = Field(ge=0)
    output_tokens: int | None = Field(ge=0)
    cost_micros: int | None = Field(
        description="Millionths of a US dollar; null while the turn goes on, and when it is not known of some call."
    )


class LadderStep(Resource):
    """One thing that was tried when the first model did not answer at once."""

    rung: Rung
    source: str
    failed: str = SOMETIMES
    age_seconds: float = SOMETIMES


class Turn(Resource):
    """One user message and all that followed."""

    id: str
    object: Literal["turn"]
    conversation_id: str
    status: TurnStatus
    message: Answer | None
    route: Route | None
    usage: Usage
    overhead_ms: float | None = Field(ge=0, description="What Handrail itself took of it.")
    release_id: str
    moved_from: str = SOMETIMES
    sources: list[str] = SOMETIMES
    error: Failure = SOMETIMES
    awaiting: Awaited = SOMETIMES
    approvals: list[str] = SOMETIMES
    ladder: list[LadderStep] = SOMETIMES
    escalation_id: str = SOMETIMES


class StreamedEvent(Resource):
    """One event of a turn; a turn ends its stream with the event that holds it whole."""

    id: str = Field(pattern=r"^\d+\.\d+$", description="For `Last-Event-ID`.")
    event: str = Field(json_schema_extra={"enum": [*events.NAMES]})
    data: str = Field(json_schema_extra={"contentMediaType": "application/json"})


class Model(Resource):
    """An agent, as clients of the OpenAI API know models."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["handrail"]


class ModelList(Resource):
    """The agents that can be talked to."""

    object: Literal["list"]
    data: list[Model]


class ChatAnswer(Resource):
    """The agent's words, as a chat message."""

    role: Literal["assistant"]
    content: str


class Choice(Resource):
    """The one answer."""

    index: Literal[0]
    message: ChatAnswer
    finish_reason: Literal["stop"]


class ChatUsage(Resource):
    """Tokens, and what Handrail itself took."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    overhead_ms: float | None


class ChatCompletion(Resource):
    """A turn in the shape of a chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: ChatUsage


class StreamedChunk(Resource):
    """One chunk of a chat completion, as clients of the OpenAI API read it; the last is `[DONE]`."""

    data: str

"""What a user is shown of a tool call: its arguments as the model wrote them, less what no answer may hold either."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from handrail.core import json
from handrail.core.errors import HandrailError
from handrail.flows.services import Services
from handrail.protection.guardrails import OutputGuardrail, OutputScanner
from handrail.serving.conversations import Conversation, StoredToolCall

MOST_DEPTH = 20
DEEPER = "[withheld]"
Shown = Callable[[str], Any]


def shown_arguments(scanner: OutputScanner, guardrails: Sequence[OutputGuardrail], arguments: str) -> Any:
    """The arguments as an object, or as the text that they are, with secrets masked in each name and value."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        given = arguments
    return _masked(given, lambda text: scanner.masked(text, guardrails), MOST_DEPTH)


async def shown_of(services: Services, tenant_id: str, release_id: str) -> Shown:
    """How the arguments of a stored call are shown; of a release that can't be loaded the instructions are unknown."""
    guardrails: Sequence[OutputGuardrail] = ()
    with suppress(HandrailError):
        guardrails = [(await services.releases.load(tenant_id, release_id)).output_guardrail]
    return lambda arguments: shown_arguments(services.output_scanner, guardrails, arguments)


def written(shown: Shown, arguments: str) -> str:
    """The same as the text that it was."""
    found = shown(arguments)
    return found if isinstance(found, str) and not arguments.lstrip().startswith('"') else json.dumps(found)


async def calls_shown(services: Services, conversation: Conversation) -> Sequence[StoredToolCall]:
    """The calls of a conversation with their arguments as they are shown."""
    calls = await services.conversations.conversation_calls(conversation.tenant_id, conversation.id)
    if not calls:
        return calls
    shown = await shown_of(services, conversation.tenant_id, conversation.release_id)
    return [replace(each, arguments=written(shown, each.arguments)) for each in calls]


def _masked(value: Any, mask: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping | list) and not depth:
        return DEEPER
    if isinstance(value, Mapping):
        return {mask(str(name)): _masked(each, mask, depth - 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, mask, depth - 1) for each in value]
    return value

"""A conversation begins: pinned to the release that is stable at this moment."""

from handrail.core.errors import NotFound, UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows.services import Services
from handrail.protection.auth import PermissionDenied, owns
from handrail.serving.conversations import Conversation, IdempotencyScope


async def open_conversation(
    services: Services,
    principal: Principal,
    agent: str | None,
    *,
    channel: str = "api",
    idempotency: IdempotencyScope | None = None,
) -> Conversation:
    """A new conversation of this principal, or the one the same key made before.

    Raises:
        NotFound: no such agent.
        UsageError: several agents and none named.
        RateLimited: this principal begins too many.
        SwitchedOff: an operator switched the agent, the tenant or the stable release off.
    """
    services.require_admitting()
    at = services.clock.micros()
    if idempotency and (known := await services.remembered(principal, idempotency)):
        return await services.conversations.require(principal, known)
    name = agent or await _only_agent(services, principal.tenant_id)
    release_id = await services.releases.stable(principal.tenant_id, name)
    if release_id is None:
        raise NotFound(f"there is no agent {name!r} here; GET /v1/models lists them", param="agent")
    services.switches.require_release(principal.tenant_id, name, release_id)
    await services.require_conversation_rate(principal, name)
    conversation = Conversation(
        new_id("conv"), principal.tenant_id, principal.subject, name, release_id, channel, 0, 0, None, at, at
    )
    try:
        async with services.db.batch() as batch:
            services.conversations.add(batch, conversation)
            if idempotency:
                services.conversations.idempotency.remember(batch, principal, idempotency, conversation.id, at=at)
    except Conflict:
        if idempotency is None:
            raise
        return await open_conversation(services, principal, agent, channel=channel, idempotency=idempotency)
    return conversation


async def require_own(services: Services, principal: Principal, conversation_id: str) -> Conversation:
    """The conversation, to speak in: staff may read those of others, but words in them would count as the user's.

    Raises:
        NotFound: there is none that this principal may see.
        PermissionDenied: it is another user's.
    """
    conversation = await services.conversations.require(principal, conversation_id)
    if not owns(principal, conversation.tenant_id, conversation.subject):
        raise PermissionDenied(
            f"only {conversation.subject!r} may speak in conversation {conversation_id!r}, not {principal.subject!r}"
        )
    return conversation


async def _only_agent(services: Services, tenant_id: str) -> str:
    if services.default_agent is not None:
        return services.default_agent
    agents = await services.releases.agents(tenant_id)
    if len(agents) != 1:
        names = ", ".join(sorted(each.name for each in agents)) or "none"
        raise UsageError(f"name the agent; this server has: {names}", param="agent")
    return agents[0].name

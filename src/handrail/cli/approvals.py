"""`handrail approvals`: what waits for a person, decided in the terminal: of the server's machine, or with a key."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

import typer

if TYPE_CHECKING:
    from handrail.cli.local_server import LocalServer

T = TypeVar("T")
Body = dict[str, Any]
app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
Url = Annotated[str | None, typer.Option(help="Address of a server elsewhere; then a key is needed.")]
Key = Annotated[
    str | None, typer.Option(envvar="HANDRAIL_API_KEY", help="Decide as the principal of this key, not as operator.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApprovalId = Annotated[str, typer.Argument(help="An approval's id.")]
ApprovalIds = Annotated[list[str], typer.Argument(help="An approval's id; several of the same action.")]
Reason = Annotated[str | None, typer.Option(help="Why; the agent sees the reason of a rejection.")]


@dataclass(frozen=True, slots=True)
class Where:
    """Which server is asked, and as whom."""

    data_dir: Path | None
    url: str | None
    key: str | None


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Decided ones too, newest first.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only what you may decide.")] = False,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List what waits, oldest first."""
    query = urlencode({"status": "all" if all_ else "pending", "mine": str(mine).lower()})
    found = _ask(lambda server: server.ask("GET", f"/v1/approvals?{query}"), Where(data_dir, url, key))
    lines = [_line(each) for each in found["data"]] or ["nothing waits for approval"]
    _print(found, as_json, "\n".join(lines))


@app.command()
def show(
    approval_id: ApprovalId, data_dir: DataDir = None, url: Url = None, key: Key = None, as_json: AsJson = False
) -> None:
    """Show one: the action, what people said to it, and what is still missing."""
    found = _ask(lambda server: server.ask("GET", _path(approval_id)), Where(data_dir, url, key))
    _print(found, as_json, "\n".join(_details(found)))


@app.command()
def approve(
    approval_ids: ApprovalIds,
    reason: Reason = None,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Approve one as it stands; its turn goes on at once. Several are approved together if they are the same action."""
    _decide_all(approval_ids, "approve", reason, Where(data_dir, url, key), as_json)


@app.command()
def reject(
    approval_ids: ApprovalIds,
    reason: Reason = None,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Reject one, or several of the same action; the agent is told why."""
    _decide_all(approval_ids, "reject", reason, Where(data_dir, url, key), as_json)


@app.command()
def edit(
    approval_id: ApprovalId,
    set_: Annotated[list[str], typer.Option("--set", help="name=value; the value as JSON, else as text. Repeatable.")],
    reason: Reason = None,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Approve one with other arguments; they are checked against the tool and the rules again."""
    changes = dict(map(_assignment, set_))

    def body(shown: Body) -> Body:
        return {"decision": "edit", "reason": reason, "arguments": {**shown["arguments"], **changes}}

    _decide(approval_id, body, Where(data_dir, url, key), as_json)


@app.command()
def ask(
    approval_id: ApprovalId,
    question: Annotated[str, typer.Argument(help="What you want to know of whoever asked for the action.")],
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Ask the requester: the question stands in their conversation, and `show` has the answer. Decides nothing."""
    _decide(approval_id, lambda _: {"decision": "info", "reason": question}, Where(data_dir, url, key), as_json)


@app.command()
def pace(
    days: Annotated[float, typer.Option(help="How far back.")] = 30.0,
    hasty_seconds: Annotated[float, typer.Option(help="What is hasty.")] = 3.0,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show how fast each approver decides, from the first look on, the hastiest first."""
    query = urlencode({"days": days, "hasty_seconds": hasty_seconds})
    found = _ask(lambda server: server.ask("GET", f"/v1/approvers?{query}"), Where(data_dir, url, key))
    lines = [
        f"{each['subject']}  {each['decisions']} decisions  {each['approved_share']:.0%} approved  "
        f"median {each['median_seconds']:.1f} s  quickest tenth {each['p10_seconds']:.1f} s  "
        f"{each['hasty_share']:.0%} under {each['hasty_seconds']:g} s"
        for each in found["data"]
    ]
    _print(found, as_json, "\n".join(lines) or "nobody has decided anything in this time")


@app.command()
def delegate(
    to: Annotated[str, typer.Option(help="Who decides in your place: the subject of their key.")],
    days: Annotated[float, typer.Option(help="From now on; at most 90.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody else decide what you may, for a while. Use your own key: without one the operator delegates."""
    body = {"to": to, "days": days, "reason": reason}
    made = _ask(lambda server: server.ask("POST", "/v1/delegations", body), Where(data_dir, url, key))
    _print(made, as_json, _delegation(made))


@app.command()
def delegations(data_dir: DataDir = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List delegations, newest first; those that are over too."""
    found = _ask(lambda server: server.ask("GET", "/v1/delegations"), Where(data_dir, url, key))
    _print(found, as_json, "\n".join(map(_delegation, found["data"])) or "nobody has delegated anything")


@app.command()
def revoke(
    delegation_id: Annotated[str, typer.Argument(help="A delegation's id.")],
    data_dir: DataDir = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a delegation: your own, or anybody's as operator. Votes given under it stay."""
    path = f"/v1/delegations/{quote(delegation_id, safe='')}"
    revoked = _ask(lambda server: server.ask("DELETE", path), Where(data_dir, url, key))
    _print(revoked, as_json, _delegation(revoked))


def _decide(approval_id: str, body: Callable[[Body], Body], where: Where, as_json: bool) -> None:
    """Look, and decide what was looked at."""

    async def both(server: "LocalServer") -> Body:
        shown = await server.ask("GET", _path(approval_id))
        decision = body(shown) | {"fingerprint": shown["fingerprint"]}
        return await server.ask("POST", f"{_path(approval_id)}/decision", decision)

    decided = _ask(both, where)
    _print(decided, as_json, _outcome(decided))


def _decide_all(approval_ids: list[str], decision: str, reason: str | None, where: Where, as_json: bool) -> None:
    if len(approval_ids) == 1:
        _decide(approval_ids[0], lambda _: {"decision": decision, "reason": reason}, where, as_json)
        return

    async def together(server: "LocalServer") -> Body:
        shown = [await server.ask("GET", _path(each)) for each in approval_ids]
        picked = [{"id": each["id"], "fingerprint": each["fingerprint"]} for each in shown]
        body = {"decision": decision, "reason": reason, "approvals": picked}
        return await server.ask("POST", "/v1/approvals/decisions", body)

    outcomes = _ask(together, where)
    lines = [
        _outcome(each["approval"]) if each["approval"] else f"{each['id']}: {each['error']['message']}"
        for each in outcomes["data"]
    ]
    _print(outcomes, as_json, "\n".join(lines))
    if any(each["error"] for each in outcomes["data"]):
        raise typer.Exit(1)


def _ask(question: "Callable[[LocalServer], Awaitable[T]]", where: Where) -> T:
    """A decision lets a turn go on, which only a running server can do."""
    import asyncio

    from handrail.cli.local_server import LocalServer, held_by
    from handrail.core.errors import UsageError
    from handrail.db.owner import holder
    from handrail.settings import read_settings

    settings = read_settings(data_dir=where.data_dir)

    async def answer() -> T:
        if where.key:
            address = where.url or holder(settings.data_dir) or f"http://127.0.0.1:{settings.port}"
            return await question(LocalServer(address, where.key))
        if where.url:
            raise UsageError(f"{where.url} wants to know who decides: give an API key with --key or HANDRAIL_API_KEY")
        async with held_by(settings) as server:
            if server is None:
                raise UsageError(
                    f"no server runs over {str(settings.data_dir)!r}; start it with `handrail serve`, or name another "
                    "with --url and decide with your --key"
                )
            return await question(server)

    return asyncio.run(answer())


def _path(approval_id: str) -> str:
    return f"/v1/approvals/{quote(approval_id, safe='')}"


def _assignment(text: str) -> tuple[str, Any]:
    import json

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not name=value", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _outcome(approval: Mapping[str, Any]) -> str:
    return f"{approval['id']}: {approval['tool']} is {approval['status']}"


def _delegation(each: Mapping[str, Any]) -> str:
    what = ", ".join([*each["roles"], *(f"team {team}" for team in each["teams"])])
    until = f"until {each['ends_at']}"
    return f"{each['id']}  {each['lender']} -> {each['delegate']}  {what}  {each['status'].replace('_', ' ')}  {until}"


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _line(approval: Mapping[str, Any]) -> str:
    pending = approval["status"] == "pending"
    end = f"until {approval['expires_at']}" if pending else f"{approval['status']} {approval['decided_at'] or ''}"
    call = f"{approval['tool']}({_arguments(approval['arguments'])})"
    return f"{approval['id']}  {approval['risk']}  {call}  {end}"


def _details(approval: Mapping[str, Any]) -> list[str]:
    lines = [_line(approval), f"{approval['reason']} Asked by {approval['agent']} for {approval['requester']}."]
    if approval["original_arguments"] is not None:
        lines.append(f"the agent had asked with: {_arguments(approval['original_arguments'])}")
    for each in approval["missing"]:
        lines.append(f"still needs {each['votes']} of {', '.join(each['roles'] + each['teams'])}")
    if approval["why_not"] and approval["status"] == "pending":
        lines.append(f"you can't approve it: {approval['why_not']}")
    for vote in approval["votes"]:
        lines += _vote(vote)
    lines += [f"question: {each['question']}  answer: {each['answer'] or 'none yet'}" for each in approval["questions"]]
    return lines


def _vote(vote: Mapping[str, Any]) -> list[str]:
    lender = f" for {vote['on_behalf_of']}" if vote["on_behalf_of"] else ""
    said = f"{vote['created_at']}  {vote['voter']}{lender}: {vote['decision']}  {vote['reason'] or ''}".rstrip()
    changes: Mapping[str, Any] = vote["diff"] or {}
    return [
        said,
        *(f"    {name}: {_side(each, 'before')} -> {_side(each, 'after')}" for name, each in changes.items()),
    ]


def _side(sides: Mapping[str, Any], name: str) -> str:
    return repr(sides[name]) if name in sides else "(not given)"


def _print(body: Any, as_json: bool, text: str) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else text)

"""`handrail approvals`: what waits for a person, decided in the terminal of the server's machine."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from handrail.cli.local_server import LocalServer

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApprovalId = Annotated[str, typer.Argument(help="An approval's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; the agent sees the reason of a rejection.")]


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List what waits, oldest first."""
    found = _ask(lambda server: server.ask("GET", "/v1/approvals"), data_dir)
    lines = [_line(each) for each in found["data"]] or ["nothing waits for approval"]
    _print(found, as_json, "\n".join(lines))


@app.command()
def approve(approval_id: ApprovalId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Approve one, as it stands; its turn goes on at once."""
    _decide(approval_id, "approve", reason, data_dir, as_json)


@app.command()
def reject(approval_id: ApprovalId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Reject one; the agent is told why."""
    _decide(approval_id, "reject", reason, data_dir, as_json)


def _decide(approval_id: str, decision: str, reason: str | None, data_dir: Path | None, as_json: bool) -> None:
    from urllib.parse import quote

    path = f"/v1/approvals/{quote(approval_id, safe='')}"

    async def both(server: "LocalServer") -> dict[str, Any]:
        shown = await server.ask("GET", path)
        body = {"decision": decision, "fingerprint": shown["fingerprint"], "reason": reason}
        return await server.ask("POST", f"{path}/decision", body)

    decided = _ask(both, data_dir)
    _print(decided, as_json, f"{decided['id']}: {decided['tool']} is {decided['status']}")


def _ask(question: "Callable[[LocalServer], Awaitable[T]]", data_dir: Path | None) -> T:
    """A decision lets a turn go on, which only a running server can do."""
    import asyncio

    from handrail.cli.local_server import held_by
    from handrail.core.errors import UsageError
    from handrail.settings import read_settings

    settings = read_settings(data_dir=data_dir)

    async def answer() -> T:
        async with held_by(settings) as server:
            if server is None:
                raise UsageError(
                    f"no server runs over {str(settings.data_dir)!r}; start it with `handrail serve`, or on PostgreSQL "
                    "decide by the API with a key of role approver"
                )
            return await question(server)

    return asyncio.run(answer())


def _line(approval: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in approval["arguments"].items())
    return f"{approval['id']}  {approval['risk']}  {approval['tool']}({arguments})  until {approval['expires_at']}"


def _print(body: Any, as_json: bool, text: str) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else text)

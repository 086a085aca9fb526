"""`handrail switch`: turn a tool, model, agent, tenant or release off, and on again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from handrail.cli.switch_desk import SwitchDesk

T = TypeVar("T")
Body = dict[str, Any]
app = typer.Typer(no_args_is_help=True)

Kind = Annotated[Literal["tool", "model", "agent", "tenant", "release"], typer.Argument(help="What kind of thing.")]
ThingName = Annotated[str, typer.Argument(metavar="NAME", help="Its name; a model's may be provider/model.")]
Tenant = Annotated[str | None, typer.Option(help="For this tenant alone (default: everywhere).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="postgresql://... instead of SQLite.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def off(
    kind: Kind,
    name: ThingName,
    reason: Annotated[str, typer.Option(help="Why; kept, and shown to whoever meets the switch.")],
    tenant: Tenant = None,
    stop_running: Annotated[
        bool, typer.Option("--stop-running", help="Cancel turns that run now; otherwise they end by themselves.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Switch something off, on every replica within a second."""
    from handrail.flows.switches import SwitchWanted

    wanted = SwitchWanted(kind, name, reason, tenant, stop_running)
    made = _ask(lambda desk: desk.switch_off(wanted), data_dir, database_url)
    _print(made, as_json, f"{made['kind']} {made['name']!r} is off{_where(made)}: {made['reason']}")
    if made["warning"]:
        typer.echo(f"warning: {made['warning']}", err=True)


@app.command()
def on(
    kind: Kind,
    name: ThingName,
    reason: Annotated[str | None, typer.Option(help="Why it may run again; kept.")] = None,
    tenant: Tenant = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Switch something on again."""
    from handrail.core.errors import UsageError

    async def release(desk: "SwitchDesk") -> Body:
        place = tenant or (name if kind == "tenant" else None)
        for each in await desk.list("off"):
            same_name = each["name"] == name or (kind == "release" and each["name"].startswith(name))
            if each["kind"] == kind and same_name and each["tenant"] == place:
                return await desk.switch_on(each["id"], reason)
        raise UsageError(f"no switch holds {kind} {name!r} off; `handrail switch list` shows what is off, and where")

    ended = _ask(release, data_dir, database_url)
    _print(ended, as_json, f"{ended['kind']} {ended['name']!r} is on again{_where(ended)}")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what was off and is on again.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List what is off, newest first."""
    found = _ask(lambda desk: desk.list("all" if everything else "off"), data_dir, database_url)
    _print({"data": found}, as_json, "\n".join(map(_line, found)) or "nothing is switched off")


def _ask(question: "Callable[[SwitchDesk], Awaitable[T]]", data_dir: Path | None, database_url: str | None) -> T:
    from handrail.cli.desk import ask
    from handrail.cli.switch_desk import open_desk

    return ask(open_desk, question, data_dir, database_url)


def _where(body: Body) -> str:
    return " everywhere" if body["tenant"] is None else f" for tenant {body['tenant']!r}"


def _line(body: Body) -> str:
    thing = f"{body['kind']} {body['name']}{_where(body)}"
    off_since = f"off since {body['created_at']} by {body['switched_by']}: {body['reason']}"
    on_since = "" if body["off"] else f"; on since {body['released_at']} by {body['released_by']}"
    return f"{thing}  {off_since}{on_since}"


def _print(body: Any, as_json: bool, text: str) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else text)

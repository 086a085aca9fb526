"""`handrail keys`: make, list and revoke API keys, and links to sign in."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from handrail.core.principal import Role

if TYPE_CHECKING:
    from handrail.cli.key_desk import KeyDesk

T = TypeVar("T")
MOST_GRACE = 30 * 86_400
app = typer.Typer(no_args_is_help=True)

Tenant = Annotated[str, typer.Option("--tenant", help="The tenant the key belongs to.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    subject: Annotated[str, typer.Option(help="Who the key speaks for: a user, an operator or a service.")],
    tenant: Tenant = "default",
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.END_USER,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Narrow the key to this scope, such as turns:write; may be given several times."),
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option(help="A team that decides approvals; may be given several times.")
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Never, when left out.")] = None,
    note: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once. From the first key on, every request needs one."""
    wanted = {
        "tenant": tenant,
        "subject": subject,
        "role": role.value,
        "scopes": scope or [],
        "expires_in_days": expires_in_days,
        "note": note,
        "teams": team or [],
    }
    made = _ask(lambda desk: desk.create(wanted), data_dir, database_url, begins=True)
    if as_json:
        _print_json(made)
        return
    typer.echo(made["key"])
    typer.echo(f"{_line(made)}\nKeep the key now: it is not stored and can't be shown again.", err=True)


@app.command("list")
def list_(
    tenant: Tenant = "default", data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """List a tenant's keys, newest first, without their secrets."""
    found = _ask(lambda desk: desk.list(tenant), data_dir, database_url)
    if as_json:
        _print_json({"data": found, "next_cursor": None})
        return
    lines = [_line(key) for key in found] or [f"tenant {tenant!r} has no keys; make one with `handrail keys create`"]
    typer.echo("\n".join(lines))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id (key_...), as `handrail keys list` shows it.")],
    tenant: Tenant = "default",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good; it stops working everywhere within five seconds."""
    revoked = _ask(lambda desk: desk.revoke(tenant, key_id), data_dir, database_url)
    if as_json:
        _print_json(revoked)
    else:
        typer.echo(_line(revoked))


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id (key_...), as `handrail keys list` shows it.")],
    tenant: Tenant = "default",
    grace: Annotated[str, typer.Option(help="How long the old key goes on: 30m, 24h, 7d; 0 ends it at once.")] = "24h",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one for the same principal, printed this once; the old one goes on for a while."""
    seconds = _seconds(grace)
    made = _ask(lambda desk: desk.rotate(tenant, key_id, seconds), data_dir, database_url)
    if as_json:
        _print_json(made)
        return
    typer.echo(made["key"])
    typer.echo(f"{_line(made)}\nKeep the key now: it is not stored. The old one ends in {grace}.", err=True)


@app.command()
def link(
    subject: Annotated[str, typer.Option(help="Who is signed in by it.")] = "first-operator",
    tenant: Tenant = "default",
    role: Annotated[
        list[Role] | None, typer.Option(help="What they may do; operator, approver and admin when left out.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of the console as people reach it.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs somebody in to the console: once, within ten minutes."""
    roles = [each.value for each in role or (Role.OPERATOR, Role.APPROVER, Role.ADMIN)]
    wanted = {"subject": subject, "tenant": tenant, "roles": roles}

    async def made(desk: "KeyDesk") -> dict[str, Any]:
        body = await desk.link(wanted)
        return body | {"url": f"{(url or desk.address).rstrip('/')}{body['path']}"}

    body = _ask(made, data_dir, database_url)
    if as_json:
        _print_json(body)
        return
    typer.echo(body["url"])
    said = f"It signs in {body['subject']} ({', '.join(body['roles'])}) once, until {body['expires_at']}."
    typer.echo(said, err=True)


def _ask(
    question: "Callable[[KeyDesk], Awaitable[T]]",
    data_dir: Path | None,
    database_url: str | None,
    *,
    begins: bool = False,
) -> T:
    from handrail.cli.desk import ask
    from handrail.cli.key_desk import begin_desk, open_desk

    return ask(begin_desk if begins else open_desk, question, data_dir, database_url)


def _seconds(text: str) -> int:
    """`30m`, `24h`, `7d` or 0 as seconds."""
    units = {"m": 60, "h": 3600, "d": 86_400}
    number, unit = text[:-1], text[-1:]
    if text == "0":
        return 0
    if unit not in units or not (number.isascii() and number.isdigit()) or int(number[:9]) * units[unit] > MOST_GRACE:
        raise typer.BadParameter(f"{text!r} is not a time of at most 30 days, such as 30m, 24h or 7d")
    return int(number) * units[unit]


def _line(key: dict[str, Any]) -> str:
    state = f"revoked {key['revoked_at']}" if key["revoked_at"] else f"expires {key['expires_at'] or 'never'}"
    used = f"used {key['last_used_at'] or 'never'}"
    note = f"  {key['note']}" if key["note"] else ""
    who = f"{key['tenant_id']}/{key['subject']}"
    teams = f" of {', '.join(key['teams'])}" if key.get("teams") else ""
    scopes = f" for {', '.join(key['scopes'])}" if key.get("scopes") else ""
    return f"{key['id']}  hr_{key['prefix']}_...  {who}  {key['role']}{teams}{scopes}  {state}  {used}{note}"


def _print_json(body: Any) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body))

"""`handrail alerts`: what is wrong, who was told, and what to do about it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    from handrail.cli.local_server import LocalServer
    from handrail.settings import Settings

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)
rules_app = typer.Typer(no_args_is_help=True)
app.add_typer(rules_app, name="rules", help="Show the rules, and check a file of them.")
Body = dict[str, Any]

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AlertId = Annotated[str, typer.Argument(help="An alert, as `handrail alerts list` shows it.")]


class Desk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def list(self, state: str) -> Body: ...
    async def show(self, alert_id: str) -> Body: ...
    async def acknowledge(self, alert_id: str, note: str | None) -> Body: ...
    async def silences(self) -> Sequence[Body]: ...
    async def silence(self, wanted: Body) -> Body: ...
    async def end_silence(self, silence_id: str) -> Body: ...
    async def rules(self) -> Body: ...
    async def test(self, channel: str) -> Body: ...


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(help="pending, firing, resolved or any.")] = "any",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List alerts, newest first."""
    found = _ask(lambda desk: desk.list(state), data_dir, database_url)
    _print(found, as_json, [_line(each) for each in found["data"]] or ["no alerts"])


@app.command()
def show(
    alert_id: AlertId, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Show an alert, with who was told what and when."""
    alert = _ask(lambda desk: desk.show(alert_id), data_dir, database_url)
    told = [f"  {each['channel']}: {each['title']}  {_became(each)}" for each in alert["notices"]]
    _print(alert, as_json, [_line(alert), f"runbook: {alert['runbook']}", *(told or ["  nobody was told"])])


@app.command()
def ack(
    alert_id: AlertId,
    note: Annotated[str | None, typer.Option(help="For whoever looks next.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge an alert: it is not escalated and not told again."""
    alert = _ask(lambda desk: desk.acknowledge(alert_id, note), data_dir, database_url)
    _print(alert, as_json, [f"{alert['id']}: acknowledged by {alert['acknowledged_by']}"])


@app.command()
def silence(
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    hours: Annotated[float, typer.Option(help="For how long.")],
    rule: Annotated[str | None, typer.Option(help="Only alerts of this rule.")] = None,
    match: Annotated[list[str] | None, typer.Option(help="Only alerts with this label, as name=value.")] = None,
    starts_in: Annotated[float, typer.Option(help="Hours from now: planned maintenance.")] = 0.0,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of what matches for some hours; without --rule and --match of nothing at all."""
    matchers = _labels(match or [])
    if rule is not None:
        matchers["rule"] = rule
    wanted = {"matchers": matchers, "hours": hours, "starts_in_hours": starts_in, "reason": reason}
    made = _ask(lambda desk: desk.silence(wanted), data_dir, database_url)
    _print(made, as_json, [_silence_line(made)])


@app.command()
def silences(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List silences that hold or are planned."""
    found = _ask(lambda desk: desk.silences(), data_dir, database_url)
    lines = [_silence_line(each) for each in found] or ["no silences"]
    _print({"data": found, "next_cursor": None}, as_json, lines)


@app.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(help="A silence, as `handrail alerts silences` shows it.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """End a silence; what fires meanwhile is told at the next look."""
    ended = _ask(lambda desk: desk.end_silence(silence_id), data_dir, database_url)
    _print(ended, as_json, [f"{ended['id']}: ended"])


@rules_app.command("list")
def list_rules(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the rules as they are set, and what each said last."""
    found = _ask(lambda desk: desk.rules(), data_dir, database_url)
    lines = [line for each in found["data"] for line in _rule_lines(each)]
    problem = [f"the file has mistakes, so the rules before it hold:\n{found['problem']}"] if found["problem"] else []
    _print(found, as_json, [*lines, f"channels: {', '.join(found['channels']) or 'none'}", *problem])


@app.command("test")
def send_test(
    channel: Annotated[str, typer.Argument(help="A channel's name.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Send a message to a channel now."""
    sent = _ask(lambda desk: desk.test(channel), data_dir, database_url)
    _print(sent, as_json, [f"{channel}: {'sent' if sent['sent'] else sent['error']}"])
    if not sent["sent"]:
        raise typer.Exit(1)


@rules_app.command()
def check(file: Annotated[Path, typer.Argument(help="A file of alert rules.")]) -> None:
    """Check a file of alert rules; every mistake is named with its line. Channels must be set here."""
    from handrail.insight.alerts import read_alerts
    from handrail.settings import read_settings

    read = read_alerts(file, list(read_settings().alerts.channels))
    off = [name for name in type(read.rules).model_fields if not getattr(read.rules, name).enabled]
    typer.echo(f"{file}: good; {len(read.routes)} routes, {len(off)} rules off{': ' if off else ''}{', '.join(off)}")


def _labels(given: list[str]) -> dict[str, str]:
    from handrail.core.errors import UsageError

    for each in given:
        if "=" not in each:
            raise UsageError(f"--match {each!r} is not of the form name=value")
    return {name.strip(): value.strip() for name, _, value in (each.partition("=") for each in given)}


def _ask(question: Callable[[Desk], Awaitable[T]], data_dir: Path | None, database_url: str | None) -> T:
    from handrail.cli.desk import ask, desk_at

    return ask(lambda settings: desk_at(settings, _ServerDesk, _own), question, data_dir, database_url)


@asynccontextmanager
async def _own(settings: "Settings") -> AsyncGenerator[Desk]:
    from handrail.bootstrap import alerts_over
    from handrail.cli.desk import own_database
    from handrail.flows.alert_desk import AlertDesk
    from handrail.protection.auth import LOCAL_OPERATOR

    async with own_database(settings) as (db, clock, audit):
        yield _OwnDesk(AlertDesk(alerts_over(db, settings), db, clock, LOCAL_OPERATOR, audit, lambda _: ()))


class _OwnDesk:
    """Works on the database itself."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    async def list(self, state: str) -> Body:
        return await self._desk.list(state=state)

    async def show(self, alert_id: str) -> Body:
        return await self._desk.show(alert_id)

    async def acknowledge(self, alert_id: str, note: str | None) -> Body:
        return await self._desk.acknowledge(alert_id, note)

    async def silences(self) -> Sequence[Body]:
        return await self._desk.silences()

    async def silence(self, wanted: Body) -> Body:
        from handrail.flows.alert_desk import SilenceWanted

        return await self._desk.silence(SilenceWanted(**wanted))

    async def end_silence(self, silence_id: str) -> Body:
        return await self._desk.end_silence(silence_id)

    async def rules(self) -> Body:
        return await self._desk.rules()

    async def test(self, channel: str) -> Body:
        return await self._desk.test(channel)


class _ServerDesk:
    """Asks the running server."""

    def __init__(self, server: "LocalServer") -> None:
        self._server = server

    async def list(self, state: str) -> Body:
        return await self._server.ask("GET", f"/v1/alerts?state={_quoted(state)}&limit=200")

    async def show(self, alert_id: str) -> Body:
        return await self._server.ask("GET", f"/v1/alerts/{_quoted(alert_id)}")

    async def acknowledge(self, alert_id: str, note: str | None) -> Body:
        return await self._server.ask("POST", f"/v1/alerts/{_quoted(alert_id)}/acknowledgement", {"note": note})

    async def silences(self) -> Sequence[Body]:
        return (await self._server.ask("GET", "/v1/alert-silences"))["data"]

    async def silence(self, wanted: Body) -> Body:
        return await self._server.ask("POST", "/v1/alert-silences", wanted)

    async def end_silence(self, silence_id: str) -> Body:
        return await self._server.ask("DELETE", f"/v1/alert-silences/{_quoted(silence_id)}")

    async def rules(self) -> Body:
        return await self._server.ask("GET", "/v1/alert-rules")

    async def test(self, channel: str) -> Body:
        return await self._server.ask("POST", f"/v1/alert-channels/{_quoted(channel)}/tests", seconds=60.0)


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _line(alert: Body) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in alert["labels"].items())
    since = alert["fired_at"] or alert["started_at"]
    until = f" until {alert['resolved_at']}" if alert["resolved_at"] else ""
    by = f"  acknowledged by {alert['acknowledged_by']}" if alert["acknowledged_by"] else ""
    head = f"{alert['id']}  {alert['state']}  {alert['severity']}  {alert['rule']}"
    return f"{head}  {labels}  since {since}{until}{by}\n  {alert['said']}"


def _became(notice: Body) -> str:
    if notice["status"] == "sent":
        return f"sent {notice['sent_at']}"
    return f"{notice['status'].replace('_', ' ')} after {notice['attempts']} attempts: {notice['error'] or 'not yet'}"


def _silence_line(each: Body) -> str:
    what = ", ".join(f"{name}={value}" for name, value in each["matchers"].items()) or "everything"
    return f"{each['id']}  {what}  {each['starts_at']} to {each['ends_at']}  {each['created_by']}: {each['reason']}"


def _rule_lines(rule: Body) -> list[str]:
    head = f"{rule['name']}  {'on' if rule['enabled'] else 'off'}  {rule['severity']}  for {rule['for_seconds']} s"
    return [head, *(f"  {each['state']}  {each['tenant'] or 'all'}  {each['said']}" for each in rule["states"])]


def _print(body: Any, as_json: bool, lines: list[str]) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else "\n".join(lines))

"""All commands. Only what the help needs is imported here; each command imports its own parts when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from handrail.cli import (
    alerts,
    approvals,
    audit,
    costs,
    database,
    drill,
    guard,
    init,
    intents,
    jobs,
    keys,
    privacy,
    release,
    schema,
    scorecard,
    simulate,
    switch,
    trace,
)

app = typer.Typer(
    name="handrail",
    help="Take an AI agent from prototype to production, and keep it there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(release.app, name="release", help="Make, list, compare and use releases of an agent project.")
app.add_typer(approvals.app, name="approvals", help="List and decide what waits for a person.")
app.add_typer(alerts.app, name="alerts", help="See, acknowledge and silence alerts; check rules and channels.")
app.add_typer(switch.app, name="switch", help="Switch tools, models, agents, tenants and releases off and on.")
app.add_typer(audit.app, name="audit", help="Search, export and verify the audit log.")
app.add_typer(keys.app, name="keys", help="Make, list and revoke API keys.")
app.add_typer(database.app, name="db", help="Copy, check, migrate and restore the database.")
app.add_typer(jobs.app, name="jobs", help="Show and run what happens in the background.")
app.add_typer(guard.app, name="guard", help="Scan texts for prompt injection, set the threshold, and measure.")
app.add_typer(intents.app, name="intents", help="Train and evaluate intent classifiers.")
app.add_typer(privacy.app, name="privacy", help="Find personal data, and measure how well it is found.")
app.add_typer(scorecard.app, name="scorecard", help="Show the success measures, and keep baselines.")
app.add_typer(trace.app, name="trace", help="Show how a turn went, span by span.")
app.command("init")(init.init)
app.command("costs", short_help="Show what calls of models cost, and how budgets stand.")(costs.costs)
app.command("schema")(schema.schema)
app.command("drill", short_help="Check the fault matrix: fail every part, see what happens.")(drill.drill)
app.command("simulate", short_help="Fill a data folder with days of made-up traffic.")(simulate.simulate)

Project = Annotated[Path, typer.Option("--project", help="Folder of the agent project.")]
Host = Annotated[str | None, typer.Option(help="Address to bind; beyond loopback only with API keys.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (default 8080; 0 picks a free one).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]


@app.command(short_help="Serve the agent project in a folder.")
def serve(
    project: Project = Path("."),
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="Serve it to this tenant; repeatable (default: default).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that answer; several need PostgreSQL.")] = 1,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate: speak TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
) -> None:
    """Serve the agent project in a folder: make a release of what is on disk, use it, and answer."""
    from handrail.cli.serve import serve_project
    from handrail.settings import read_settings

    files = {name: path for name, path in (("cert", tls_cert), ("key", tls_key)) if path is not None}
    settings = read_settings(host=host, port=port, data_dir=data_dir, database_url=database_url, tls=files or None)
    serve_project(project, settings, tenants=tenant or ["default"], workers=workers)


@app.command(short_help="Serve the shop, an example agent that needs no key.")
def demo(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Serve the shop, an example agent that needs no key and no network; its chat page opens at /."""
    from handrail.cli.serve import example_project, serve_project
    from handrail.settings import read_settings

    serve_project(example_project("shop"), read_settings(host=host, port=port, data_dir=data_dir), welcome=True)


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="Address of a running server.")] = "",
    agent: Annotated[str | None, typer.Option(help="Which agent, when the server has several.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    key: Annotated[str | None, typer.Option(envvar="HANDRAIL_API_KEY", help="API key.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Talk to an agent in the terminal; answers stream."""
    from handrail.cli.chat import chat_in_terminal
    from handrail.settings import read_settings

    chat_in_terminal(url or None, agent, conversation, key, read_settings(data_dir=data_dir))


@app.command()
def version() -> None:
    """Print the version."""
    from handrail import __version__

    typer.echo(__version__)

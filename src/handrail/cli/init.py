"""`handrail init`: a small agent project that runs at once and explains itself."""

from pathlib import Path
from typing import Annotated

import typer

from handrail.core.errors import UsageError

PLACEHOLDER = "AGENT_NAME"


def init(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The agent's name; a folder of this name is made.")],
) -> None:
    """Make a small agent project that runs at once."""
    name = scaffold(folder)
    typer.echo(f"Made the agent project {name!r} in {folder}. Next:")
    typer.echo(f"  handrail serve --project {folder}")


def scaffold(folder: Path) -> str:
    """Write the project and return the agent's name.

    Raises:
        UsageError: the folder has files in it, or its name can't be an agent's.
    """
    name = _agent_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{str(folder)!r} is not empty; choose another name, or empty it first")
    templates = Path(__file__).parent / "scaffold"
    for source in sorted(templates.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            # Under its real name it would hide files of this repository from git.
            path = ".gitignore" if source.name == "gitignore" else source.relative_to(templates)
            _write(folder / path, source.read_text(encoding="utf-8"), name)
    return name


def _write(target: Path, template: str, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(template.replace(PLACEHOLDER, name), encoding="utf-8")


def _agent_name(folder: Path) -> str:
    from handrail.core.documents import Document, ProjectError, validate
    from handrail.serving.agents.schema import AgentConfig

    name = folder.resolve().name.lower().replace("_", "-").replace(" ", "-")
    try:
        return validate(Document("agent.yaml", {"name": name}, {}), AgentConfig).name
    except ProjectError as error:
        raise UsageError(
            f"{folder.name!r} can't be an agent's name; use letters, digits and '-', beginning with a letter"
        ) from error

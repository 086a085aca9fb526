"""`handrail schema`: the JSON schema of a project file, for an editor to check it while you type."""

from typing import Annotated

import typer


def schema(
    file: Annotated[
        str, typer.Argument(help="agent.yaml, intents.yaml, policies.yaml, flow.yaml or test.yaml; all when left out.")
    ] = "",
) -> None:
    """Print the JSON schema of a project file."""
    import json

    from handrail.flows.schemas import project_schemas, schema_of

    typer.echo(json.dumps(schema_of(file) if file else project_schemas(), indent=2))

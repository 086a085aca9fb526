"""The JSON schema of every file of an agent project, for editors and for the reference."""

from typing import Any

from pydantic import BaseModel, Field, create_model

from handrail.core.errors import UsageError
from handrail.delivery.evals import TestFile
from handrail.flows.policies import Policies
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.dialogue import FlowFile
from handrail.serving.models.schema import ModelConfig
from handrail.serving.routing import Intents

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def project_schemas() -> dict[str, dict[str, Any]]:
    """Schema by the name of the file; `flow.yaml` and `test.yaml` stand for each file of their folders."""
    models: dict[str, type[BaseModel]] = {
        "agent.yaml": _agent_with_models(),
        "intents.yaml": Intents,
        "flow.yaml": FlowFile,
        "policies.yaml": Policies,
        "test.yaml": TestFile,
    }
    schemas = {
        name: {"$schema": _DIALECT, **model.model_json_schema(), "title": name} for name, model in models.items()
    }
    _let_end_stand_alone(schemas["flow.yaml"])
    return schemas


def schema_of(file: str) -> dict[str, Any]:
    """The schema for a file such as `flows/refund.yaml`.

    Raises:
        UsageError: no file of that name has one.
    """
    schemas = project_schemas()
    folder, _, name = file.rpartition("/")
    key = {"flows": "flow.yaml", "tests": "test.yaml"}.get(folder, name)
    if key not in schemas:
        raise UsageError(f"{file!r} has no schema; use one of: {', '.join(schemas)}")
    return schemas[key]


def _agent_with_models() -> type[BaseModel]:
    """agent.yaml in one piece: the agents room leaves the shape of `models` to the models room."""
    description = AgentConfig.model_fields["models"].description
    models = (dict[str, ModelConfig], Field(default_factory=dict, description=description))
    return create_model("AgentConfig", __base__=AgentConfig, __doc__=AgentConfig.__doc__, models=models)


def _let_end_stand_alone(node: Any) -> None:
    """A step may be the bare word `end`, which the validator reads before the schema sees it."""
    if isinstance(node, dict):
        if node.get("items") == {"$ref": "#/$defs/Step"}:
            node["items"] = {"anyOf": [{"$ref": "#/$defs/Step"}, {"const": "end"}]}
        for child in node.values():
            _let_end_stand_alone(child)
    elif isinstance(node, list):
        for child in node:
            _let_end_stand_alone(child)

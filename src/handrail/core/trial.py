"""A rule tried on made-up calls of its tools: what would fail at every call fails the release instead."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from handrail.core.cel import cel
from handrail.core.tools import Tool

_SAMPLES: Mapping[str, Any] = {"string": "x", "integer": 1, "number": 1.5, "boolean": True}
_AROUND: Mapping[str, Any] = {
    "principal": {"subject": "x", "roles": ["end_user"], "tenant": "x", "scopes": ["x"], "teams": ["x"]},
    "conversation": {"id": "x", "agent": "x", "channel": "api", "turn_count": 1},
    "intent": "x",
}
MOST_NESTED = 8


def trial(condition: str, program: "cel.Program", tools: Mapping[str, Tool]) -> Iterator[str]:
    """What is wrong with the condition for calls of these tools, by the types of their arguments.

    Values are made up, so only what no value could mend is told: kinds that can't be compared, a function that takes
    something else, a result that is neither true nor false.
    """
    for name, tool in tools.items():
        fault = _fault(program, {**_AROUND, "tool": name, "args": _sample(tool.parameters)})
        if fault is not None:
            yield f"the condition {condition!r} {fault} in calls of {name!r}, where {_kinds(tool)}"


def _fault(program: "cel.Program", values: Mapping[str, Any]) -> str | None:
    try:
        outcome = program.execute({each: values[each] for each in program.variables() if each in values})
    except TypeError:
        return "compares kinds that can't be compared"
    except RuntimeError as error:
        return "calls a function with what it does not take" if "Undefined" in str(error) else None
    except (ArithmeticError, LookupError, ValueError):
        # Other values may do.
        return None
    return None if isinstance(outcome, bool) else f"gives {outcome!r}, not true or false,"


def _sample(schema: Mapping[str, Any], level: int = 0) -> Any:
    """A value of this JSON schema; None where that can't be said."""
    for choice in ("anyOf", "oneOf"):
        options = [each for each in schema.get(choice, ()) if each.get("type") != "null"]
        if options:
            return _sample(options[0], level)
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" and level < MOST_NESTED:
        properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
        sampled = {name: _sample(each, level + 1) for name, each in properties.items()}
        return {name: value for name, value in sampled.items() if value is not None}
    if kind == "array" and level < MOST_NESTED:
        inner = _sample(schema.get("items", {}), level + 1)
        return [] if inner is None else [inner]
    return _SAMPLES.get(kind) if isinstance(kind, str) else None


def _kinds(tool: Tool) -> str:
    properties = cast("Mapping[str, Mapping[str, Any]]", tool.parameters.get("properties", {}))
    told = ", ".join(f"{name} is {each.get('type', 'of several kinds')}" for name, each in sorted(properties.items()))
    return told or "it takes no arguments"

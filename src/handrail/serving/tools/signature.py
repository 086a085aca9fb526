"""From a typed function to its arguments' model and JSON schema."""

import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from handrail.core.tools import ToolContext
from handrail.serving.tools.docstring import Described

# A number for a text is how models write order numbers; NaN would pass every "more than" check of a tool.
_LAX = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False, arbitrary_types_allowed=False)


class Unusable(Exception):
    """The function can't be a tool; `faults` says why, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Signature:
    """`fields` maps the model's field names to the function's parameters."""

    model: type[BaseModel]
    fields: dict[str, str]
    schema: dict[str, Any]
    context_parameter: str | None


def read(function: Callable[..., Any], described: Described) -> Signature:
    """Raises `Unusable` for a function whose parameters can't all be described and checked."""
    hints = _hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    contexts = [each.name for each in parameters if _is_context(hints.get(each.name))]
    taken = [each for each in parameters if each.name not in contexts]
    faults = list(_faults(parameters, hints, contexts, described))
    if faults:
        raise Unusable(faults)
    model, fields = _model(function, taken, hints, described)
    return Signature(model, fields, _schema(model), contexts[0] if contexts else None)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Unusable([f"its type hints can't be read ({type(error).__name__}: {error})"]) from error


def _is_context(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_context(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_context(each) for each in get_args(hint))
    return hint is ToolContext


def _faults(
    parameters: list[inspect.Parameter], hints: dict[str, Any], contexts: list[str], described: Described
) -> Iterator[str]:
    if len(contexts) > 1:
        yield f"it has {len(contexts)} ToolContext parameters; keep one"
    for each in parameters:
        if each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            yield f"'{each}' can't be described to a model; name each parameter"
        elif each.kind is inspect.Parameter.POSITIONAL_ONLY:
            yield f"parameter {each.name!r} is positional only; remove the '/'"
        elif each.name not in hints:
            yield f"parameter {each.name!r} has no type; write for example '{each.name}: str'"
        elif isinstance(each.default, FieldInfo):
            yield (
                f"parameter {each.name!r} has Field(...) as its default; "
                f"write '{each.name}: Annotated[TYPE, Field(...)]', so that the function can still be called directly"
            )
    unknown = sorted(set(described.arguments) - {each.name for each in parameters})
    if unknown:
        yield f"its docstring describes {unknown[0]!r}, which is not a parameter"


def _model(
    function: Callable[..., Any], taken: list[inspect.Parameter], hints: dict[str, Any], described: Described
) -> tuple[type[BaseModel], dict[str, str]]:
    # Fields get neutral names: a parameter called `copy` or `json` would hide a method of the model.
    definitions: dict[str, Any] = {}
    fields: dict[str, str] = {}
    for index, each in enumerate(taken):
        field = f"p{index}"
        fields[field] = each.name
        default = ... if each.default is inspect.Parameter.empty else each.default
        definitions[field] = (_annotated(hints[each.name], each.name, described.arguments.get(each.name)), default)
    try:
        made = create_model(function.__name__, __config__=_LAX, __module__=function.__module__, **definitions)
    except (PydanticUserError, TypeError) as error:
        raise Unusable([f"a parameter's type can't be checked ({str(error).splitlines()[0]})"]) from error
    return made, fields


def _annotated(hint: Any, name: str, description: str | None) -> Any:
    base, metadata = hint, ()
    if get_origin(hint) is Annotated:
        base, *rest = get_args(hint)
        metadata = tuple(rest)
    # The author's own Field comes after the docstring's text and wins; the alias comes last, nothing may rename it.
    documented = (Field(description=description),) if description else ()
    named = Field(alias=name, validation_alias=name, serialization_alias=name)
    return Annotated[(base, *documented, *metadata, named)]  # pyright: ignore[reportInvalidTypeForm]


class _Schema(GenerateJsonSchema):
    """Without titles, which only cost tokens, and silent about defaults that JSON can't show."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(schema_generator=_Schema)
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise Unusable([f"a parameter's type has no JSON schema ({reason})"]) from error
    schema.pop("title", None)
    schema.pop("description", None)
    schema.setdefault("properties", {})
    return schema

"""Arguments of a tool call: from what a model wrote to what the function takes."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from handrail.core import json
from handrail.core.errors import UsageError

LONGEST_VALUE_SHOWN = 60


class InvalidArguments(UsageError):
    """The arguments don't fit the tool; the message is one sentence that a model can act on."""

    code = "invalid_arguments"


def decode(arguments: str) -> Mapping[str, Any]:
    """The arguments as data. Models write an empty text for "none".

    Raises:
        InvalidArguments: the text is not a JSON object.
    """
    if not arguments.strip():
        return {}
    try:
        data = json.loads(arguments)
    except ValueError as error:
        raise InvalidArguments(f"the arguments are not valid JSON ({error}); write one JSON object") from error
    if not isinstance(data, dict):
        raise InvalidArguments(f"the arguments are {_kind(data)}; write one JSON object with the parameters as keys")
    return cast(dict[str, Any], data)


class Parser:
    """Turns decoded arguments into keyword arguments. `fields` maps the model's field names to parameters."""

    __slots__ = ("_fields", "_model", "_tool")

    def __init__(self, tool: str, model: type[BaseModel], fields: Mapping[str, str]) -> None:
        self._tool = tool
        self._model = model
        self._fields = dict(fields)

    def __call__(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            parsed = self._model.model_validate(arguments)
        except ValidationError as error:
            raise InvalidArguments(self._sentence(error)) from error
        return {parameter: getattr(parsed, field) for field, parameter in self._fields.items()}

    def _sentence(self, error: ValidationError) -> str:
        faults = [_fault(cast(dict[str, Any], item)) for item in error.errors(include_url=False)]
        known = ", ".join(self._fields.values()) or "none"
        return f"{self._tool} was not called: {'; '.join(faults)} (parameters: {known})"


def _fault(item: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"]) or "arguments"
    if item["type"] == "missing":
        return f"{name!r} is missing"
    if item["type"] == "extra_forbidden":
        return f"{name!r} is not a parameter"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{name!r}: {message[:1].lower()}{message[1:]}, got {_short(item['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE_SHOWN else text[: LONGEST_VALUE_SHOWN - 3] + "..."


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"a {type(value).__name__}"

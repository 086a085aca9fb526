"""What all documented answers share: closed objects, times, lists with a cursor, the one shape of errors."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from handrail.http.errors import STATUS

# A field that is there when it applies: not required, and never null.
SOMETIMES: Any = Field(default_factory=object)
At = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "api_error",
]


class Resource(BaseModel):
    """Documents a body and never makes or reads one at run time; a field that nobody documented breaks a test."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


R = TypeVar("R", bound=Resource)


class Page(Resource, Generic[R]):
    """A page of a list; `next_cursor` goes into `cursor` of the next request, and is null on the last page."""

    data: list[R]
    next_cursor: str | None


class ErrorDetails(Resource):
    """What went wrong. Rely on `code`; the message is for people and may change."""

    type: ErrorType
    code: str = Field(json_schema_extra={"enum": [*sorted(STATUS)]})
    message: str
    param: str | None = Field(description="The header, parameter or field that is wrong.")
    trace_id: str | None = Field(pattern="^[0-9a-f]{32}$", description="Finds it in the server's log.")


class Error(Resource):
    """Every error has this shape."""

    error: ErrorDetails


class Failure(Resource):
    """Why a turn or a run did not end well."""

    code: str
    message: str

"""What a tool returned, as JSON text of bounded size."""

from typing import Any

from pydantic_core import to_jsonable_python

from handrail.core import json


def as_json(value: Any, most_bytes: int) -> tuple[str, bool]:
    """JSON for whatever a tool returned, and whether it is whole: what is too long is cut and marked.

    What JSON can't say becomes text. The tool has already run, so this never fails.
    """
    text = _text(value)
    size = len(text.encode())
    return (text, True) if size <= most_bytes else (_cut(text, size, most_bytes), False)


def error_json(code: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message}})


def _text(value: Any) -> str:
    foreign: list[str] = []

    def show(part: Any) -> str:
        foreign.append(type(part).__name__)
        return str(part)

    try:
        plain = to_jsonable_python(value, fallback=show, inf_nan_mode="null")
        if foreign and isinstance(plain, str):
            plain = {"text": plain, "note": f"the tool returned a {foreign[0]}, shown as text"}
        return json.dumps(plain)
    except Exception:  # noqa: BLE001 - the value's own methods run here, and the effect has already happened
        return json.dumps({"text": None, "note": f"the tool returned a {type(value).__name__} that can't be shown"})


def _cut(text: str, size: int, most_bytes: int) -> str:
    # Quotes in the kept part are escaped once more, which may double it.
    kept = text.encode()[: most_bytes // 2].decode(errors="ignore")
    note = f"the result has {size} bytes, only its beginning is shown; ask for less"
    return json.dumps({"truncated": True, "note": note, "beginning": kept})

"""Stylesheet, scripts and marks: read once, served under an address that changes with their content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Assets:
    """One fingerprint for all files, so that a module finds the modules it imports beside it."""

    contents: Mapping[str, bytes]
    fingerprint: str

    @classmethod
    def load(cls) -> "Assets":
        folder = files("handrail.console") / "static"
        found = sorted((each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file())
        whole = hashlib.sha256()
        for name, content in found:
            whole.update(f"{name}\0{len(content)}\0".encode() + content)
        return cls(dict(found), whole.hexdigest()[:16])

    def address(self, name: str) -> str:
        """Where a page finds the file; `KeyError` for one that is not there."""
        if name not in self.contents:
            raise KeyError(f"there is no static file {name!r}; there are: {', '.join(self.contents)}")
        return f"/console/static/{self.fingerprint}/{name}"

    async def respond(self, request: Request) -> Response:
        """The file. A page of another release of the server gets today's file, which nobody may keep."""
        name = request.path_params["name"]
        content = self.contents.get(name)
        if content is None:
            raise HTTPException(404, f"there is no static file {name!r}")
        is_current = request.path_params["fingerprint"] == self.fingerprint
        headers = {
            "cache-control": _FOR_EVER if is_current else "no-store",
            "x-content-type-options": "nosniff",
        }
        return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])

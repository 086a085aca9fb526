"""The console as a browser without scripts uses it."""

from dataclasses import dataclass

import httpx2

from handrail.flows.services import Services

ORIGIN = "http://127.0.0.1:8080"
REPLY = "<b title='said by the model'>bold</b> & so on"


@dataclass
class Console:
    """A browser without scripts, as far as the server can tell."""

    client: httpx2.AsyncClient
    services: Services

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=_dashed(headers))

    async def post(self, fields: dict[str, str], **headers: str) -> httpx2.Response:
        sent = {"sec_fetch_site": "same-origin", "origin": ORIGIN} | headers
        return await self.client.post("/console/chat", data=fields, headers=_dashed(sent))

    async def say(self, message: str, conversation: str = "") -> str:
        """Post the form; returns the conversation's id."""
        answer = await self.post({"message": message, "conversation": conversation})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"].partition("conversation=")[2].partition("#")[0]


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    """Header names as keyword arguments; an empty value leaves the header out."""
    return {name.replace("_", "-"): value for name, value in headers.items() if value}

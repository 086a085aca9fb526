"""The status page: what `/readyz` says, for people."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import services_of, visitor_of_open_page
from handrail.console.rendering import Renderer
from handrail.flows.readiness import readiness


@dataclass(frozen=True, slots=True)
class StatusPage:
    renderer: Renderer

    async def show(self, request: Request) -> Response:
        ready, body = await readiness(services_of(request))
        visitor = await visitor_of_open_page(request)
        return self.renderer.page("status.html", current="status", visitor=visitor, ready=ready, readiness=body)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    app.add_route("/console/status", StatusPage(renderer).show, include_in_schema=False)

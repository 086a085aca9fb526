"""Where the trace command gets its answer: the database, or the server that holds it."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from handrail.cli.local_server import held_by
from handrail.flows.trace_desk import traces_by_id, traces_of_turn
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import read_settings


def read(wanted: str, data_dir: Path | None, database_url: str | None) -> list[dict[str, Any]]:
    """The traces of a turn, or of a trace id."""

    async def ask() -> list[dict[str, Any]]:
        from handrail.bootstrap import services_from

        settings = read_settings(data_dir=data_dir, database_url=database_url)
        is_trace = re.fullmatch("[0-9a-f]{32}", wanted) is not None
        async with held_by(settings) as server:
            if server is not None:
                path = f"/v1/traces/{wanted}" if is_trace else f"/v1/turns/{quote(wanted, safe='')}/traces"
                return (await server.ask("GET", path))["data"]
            async with services_from(settings) as services:
                of = traces_by_id if is_trace else traces_of_turn
                return await of(services, LOCAL_OPERATOR, wanted)

    return asyncio.run(ask())

"""A process that looks at alerts and sends them, to be killed: `python -m tests.flows.alerting_replica FOLDER URL`."""

import asyncio
import sys
from pathlib import Path

from handrail.bootstrap import services_from
from handrail.flows import alerting
from handrail.protection.privacy import redact_event
from handrail.settings import Settings
from handrail.telemetry.logging import configure


async def main(folder: Path, url: str) -> None:
    configure(redact_event)
    async with services_from(Settings(data_dir=folder, database_url=url)) as services:
        print("ready", services.limits.owner, flush=True)
        await asyncio.gather(*alerting.keep(services))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

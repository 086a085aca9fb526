"""What a server need not carry, it does not load."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import handrail.bootstrap, handrail.http.app
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
NOT_NEEDED = {"prompt_toolkit", "typer", "redis", "joserfc", "aiohttp", "dbos", "sklearn", "scipy", "alembic"}


def test_a_server_loads_no_library_of_a_part_that_is_not_configured() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert set(told.stdout.split()) & NOT_NEEDED == set()


MAKES_A_DATABASE = """
import asyncio, sys
from pathlib import Path
from handrail.db.open import open_database, prepare_database
from handrail.core.clock import SystemClock

async def main(url):
    await prepare_database(url)
    await (await open_database(url, SystemClock())).close()
    print("alembic" in sys.modules, oct(Path(url.removeprefix("sqlite:///")).stat().st_mode)[-3:])

asyncio.run(main(sys.argv[1]))
"""


def test_a_server_does_not_carry_what_made_its_database(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKES_A_DATABASE, f"sqlite:///{tmp_path}/new/handrail.db"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["False", "600"]

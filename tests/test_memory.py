"""What a server need not carry, it does not load."""

import subprocess
import sys

PROGRAM = """
import sys
import handrail.bootstrap, handrail.http.app
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
NOT_NEEDED = {"prompt_toolkit", "typer", "redis", "joserfc", "aiohttp", "dbos", "sklearn", "scipy", "alembic"}


def test_a_server_loads_no_library_of_a_part_that_is_not_configured() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert set(told.stdout.split()) & NOT_NEEDED == set()

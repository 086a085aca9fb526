"""Asks for known weaknesses of the locked run-time packages: `make audit`. Needs the network.

`uv audit` reads its own kind of lock, so the pins are put into a project of their own in a temporary folder.
Exit code 0: none is known, or the question could not be asked (the last line says which); 1: some are known.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.lock_file import Pin, pins

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
UNREACHABLE = "audit: NOT DONE, the network did not answer; run `make audit` where it can be reached. It said: "


def project(locked: list[Pin]) -> str:
    """A pyproject.toml that asks for exactly what is locked."""
    wanted = [f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else "") for pin in locked]
    lines = "".join(f"    {json.dumps(each)},\n" for each in wanted)
    return (
        '[project]\nname = "audited"\nversion = "0"\nrequires-python = ">=3.11,<3.15"\n'
        f"dependencies = [\n{lines}]\n[tool.uv]\npackage = false\n"
    )


def reason(said: str) -> str:
    """The first line that tells of an error."""
    lines = said.strip().splitlines() or ["nothing"]
    return next((line for line in lines if line.startswith("error")), lines[0])


def main() -> None:
    locked = pins(ROOT / "requirements.lock")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(project(locked))
        prepared = subprocess.run([UV, "lock", "--directory", folder], capture_output=True, text=True, check=False)
        if prepared.returncode != 0:
            print(UNREACHABLE + reason(prepared.stderr))
            return
        audited = subprocess.run(
            [UV, "audit", "--frozen", "--directory", folder], capture_output=True, text=True, check=False
        )
    if audited.returncode not in (0, 1):
        print(UNREACHABLE + reason(audited.stderr))
        return
    print(audited.stdout)
    print(
        f"audit: {len(locked)} packages asked for, " + ("some weaknesses known" if audited.returncode else "none known")
    )
    raise SystemExit(audited.returncode)


if __name__ == "__main__":
    main()

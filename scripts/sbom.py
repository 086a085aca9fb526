"""Writes the bill of materials of the run-time lock: `make sbom` -> dist/handrail.cdx.json.

CycloneDX 1.6 as JSON. The same lock and version give the same bytes, so that two builds can be compared; the serial
number is derived from them.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from scripts.lock_file import Pin, pins

ROOT = Path(__file__).resolve().parent.parent


def bill(project: dict[str, Any], locked: list[Pin]) -> dict[str, Any]:
    """The bill of one version of the project over what its lock pins."""
    itself = f"pkg:pypi/{project['name']}@{project['version']}"
    content = json.dumps([project["name"], project["version"], locked]).encode()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, hashlib.sha256(content).hexdigest())}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": itself,
                "name": project["name"],
                "version": project["version"],
                "purl": itself,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [component(pin) for pin in locked],
        "dependencies": [{"ref": itself, "dependsOn": [reference(pin) for pin in locked]}],
    }


def component(pin: Pin) -> dict[str, Any]:
    """One package. Each hash is of one file of it (a wheel a platform), so they stand as distributions."""
    return {
        "type": "library",
        "bom-ref": reference(pin),
        "name": pin.name,
        "version": pin.version,
        "purl": reference(pin),
        "properties": [{"name": "handrail:marker", "value": pin.marker}] if pin.marker else [],
        "externalReferences": [
            {"type": "distribution", "url": reference(pin), "hashes": [{"alg": "SHA-256", "content": digest}]}
            for digest in pin.hashes
        ],
    }


def reference(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version}"


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = pins(ROOT / "requirements.lock")
    target = ROOT / "dist/handrail.cdx.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(bill(project, locked), indent=2) + "\n")
    print(f"wrote {target.relative_to(ROOT)}: {len(locked)} packages")


if __name__ == "__main__":
    main()

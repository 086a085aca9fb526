"""The agent project that Handrail serves in the benchmark: two read tools, a few intents, every rail at its default."""

from __future__ import annotations

import shutil
from pathlib import Path

MODEL_URL_PLACE = "MODEL_URL"


def write_project(folder: Path, model_url: str) -> Path:
    """Write the project into a new folder, its model at `model_url`."""
    shutil.copytree(Path(__file__).parent / "template", folder, ignore=shutil.ignore_patterns("__pycache__"))
    agent = folder / "agent.yaml"
    agent.write_text(agent.read_text().replace(MODEL_URL_PLACE, model_url))
    return folder

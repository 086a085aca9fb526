"""The console over real services: a small agent whose model says what could be mistaken for HTML."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from handrail.bootstrap import services_from
from handrail.core.principal import Principal
from handrail.flows.releases import create_and_use
from handrail.http.app import create_app
from handrail.settings import Settings
from tests.console.console import ORIGIN, REPLY, Console

PROJECT = {
    "agent.yaml": f"""
name: echo
display_name: Echo & Co
greeting: "Hello <you>."
models:
  large: {{provider: scripted, model: fixed, replies: ["{REPLY}"]}}
routing: {{execute: 0.0, confirm: 0.0}}
""",
    "instructions.md": "Be brief.\n",
    "intents.yaml": """
intents:
- name: small_talk
  title: have a chat
  agent: true
  examples: [hello there, how are you today, good morning to you, nice to meet you]
- name: weather
  agent: true
  examples: [will it rain tomorrow, is it cold outside, weather for the weekend, do I need an umbrella]
""",
}


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=folder, rate_limit={"turns_per_minute": 60, "burst": 3})  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="session")
def released_file(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Path:
    """A database in which the agent answers; training takes longer than all tests together."""
    folder = tmp_path_factory.mktemp("console")
    shutil.copyfile(migrated_file, folder / "handrail.db")
    for name, text in PROJECT.items():
        (folder / "project" / name).parent.mkdir(exist_ok=True)
        (folder / "project" / name).write_text(text)

    async def release() -> None:
        async with services_from(settings_of(folder)) as services:
            await create_and_use(services.releases, folder / "project", Principal("default", "test"))

    asyncio.run(release())
    return folder / "handrail.db"


@pytest.fixture
async def console(tmp_path: Path, released_file: Path) -> AsyncIterator[Console]:
    shutil.copyfile(released_file, tmp_path / "handrail.db")
    async with services_from(settings_of(tmp_path)) as services:
        app = create_app(services, port=8080)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ORIGIN) as client:
            yield Console(client, services)

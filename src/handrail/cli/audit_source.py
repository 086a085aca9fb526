"""Where the audit commands get the log from: a file, the database of this folder, or the server that holds it."""

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from handrail.cli.local_server import LocalServer, held_by
from handrail.core.errors import UsageError
from handrail.flows.audit_desk import AuditDesk, Filter, NotAnExport, read_checkpoints, read_export, verify_export
from handrail.protection.audit import Verification
from handrail.protection.audit.checkpoints import key_id_of
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import Settings, read_settings

Body = dict[str, Any]


def search(given: Mapping[str, str], limit: int, data_dir: Path | None, database_url: str | None) -> Body:
    """A page of records; `given` are the filters of `GET /v1/audit`."""

    async def ask() -> Body:
        async with _source(data_dir, database_url) as source:
            if isinstance(source, LocalServer):
                return await source.ask("GET", f"/v1/audit?{urlencode({**given, 'limit': limit})}")
            wanted = Filter.of(given)
            return await source.search(replace(wanted, limit=limit))

    return asyncio.run(ask())


def export(file: Path, data_dir: Path | None, database_url: str | None) -> int:
    """Write the log to a new file that only its owner can read; returns how many lines.

    Raises:
        UsageError: the file exists or can't be written; nothing half-written stays.
    """
    if file.exists():
        raise UsageError(f"{str(file)!r} exists; name a new file")
    draft = file.with_name(f".{file.name}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            lines = 0
            for line in _lines(data_dir, database_url):
                out.write(line + "\n")
                lines += 1
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
    except OSError as error:
        raise UsageError(f"can't write {str(file)!r}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return lines


def checkpoint(data_dir: Path | None, database_url: str | None) -> Body | None:
    """The newest checkpoint, if anything was ever recorded."""

    async def ask() -> Body | None:
        async with _source(data_dir, database_url) as source:
            if isinstance(source, AuditDesk):
                return await source.newest_checkpoint()
            found = (await source.ask("GET", "/v1/audit/checkpoints"))["data"]
            return found[0] if found else None

    return asyncio.run(ask())


def verify(
    file: Path | None,
    checkpoints: Path | None,
    public_keys: list[str] | None,
    data_dir: Path | None,
    database_url: str | None,
) -> Verification:
    """Check an export, or what an export made now would be."""
    exported = read_export(_read(file) if file else _lines(data_dir, database_url))
    kept = read_checkpoints(_read(checkpoints)) if checkpoints else []
    believed = {_key_id(key): key for key in public_keys} if public_keys else None
    return asyncio.run(verify_export(exported, kept=kept, public_keys=believed))


def _key_id(key: str) -> str:
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        raise UsageError(f"public key {key!r} is not base64; an export's first line has the keys") from None
    return key_id_of(key)


def _read(file: Path) -> Iterable[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"can't read {str(file)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NotAnExport(f"{str(file)!r} is not UTF-8 text: {error}") from error


def _lines(data_dir: Path | None, database_url: str | None) -> list[str]:
    async def take() -> list[str]:
        async with _source(data_dir, database_url) as source:
            if isinstance(source, LocalServer):
                return await source.lines("/v1/audit/export")
            return [line async for line in source.export()]

    return asyncio.run(take())


@asynccontextmanager
async def _source(data_dir: Path | None, database_url: str | None) -> AsyncGenerator[LocalServer | AuditDesk]:
    from handrail.bootstrap import services_from

    settings: Settings = read_settings(data_dir=data_dir, database_url=database_url)
    async with held_by(settings) as server:
        if server is not None:
            yield server
            return
        async with services_from(settings) as services:
            yield AuditDesk(services, LOCAL_OPERATOR)

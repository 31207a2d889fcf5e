"""Secret values by name, such as those that tool servers are given: kept as the model's key is.

In the system keyring where there is one, else in a file that only its user can read; never in the database, a log or
an audit entry.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import keyring
import keyring.errors

from agentpane.orchestrator.agents.keys import SERVICE, keyring_is_safe


class SecretStore:
    """Keyring calls may wait for a person, so everything runs in a thread."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "secrets.json"
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> str | None:
        return await asyncio.to_thread(self._get, name)

    async def put(self, name: str, value: str) -> None:
        """Keep a value under a name; an empty one forgets it."""
        async with self._lock:
            await asyncio.to_thread(self._put, name, value)

    def _get(self, name: str) -> str | None:
        if keyring_is_safe():
            try:
                found = keyring.get_password(SERVICE, name)
            except keyring.errors.KeyringError:
                found = None
            if found:
                return found
        return self._read().get(name)

    def _put(self, name: str, value: str) -> None:
        in_keyring = False
        if keyring_is_safe():
            try:
                if value:
                    keyring.set_password(SERVICE, name, value)
                    in_keyring = True
                elif keyring.get_password(SERVICE, name) is not None:
                    keyring.delete_password(SERVICE, name)
            except keyring.errors.KeyringError:
                in_keyring = False
        kept = self._read()
        before = dict(kept)
        kept.pop(name, None)
        if value and not in_keyring:
            kept[name] = value
        if kept != before:
            self._write(kept)

    def _read(self) -> dict[str, str]:
        try:
            with open(self._file, encoding="utf-8") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    return {}
                table = json.load(file)
        except (OSError, ValueError):
            return {}
        return {str(name): str(value) for name, value in table.items()} if isinstance(table, dict) else {}

    def _write(self, table: dict[str, str]) -> None:
        if not table:
            self._file.unlink(missing_ok=True)
            return
        part = self._file.with_suffix(".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(table, file)
        part.replace(self._file)

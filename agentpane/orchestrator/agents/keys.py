"""The key for the model API: where it is kept, and which one goes to which address.

A key is never in the database, a log, an audit entry or a child's environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import keyring
import keyring.backends.fail
import keyring.backends.null
import keyring.errors

from agentpane.domain.engine import KeySource, KeyStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Endpoint

SERVICE = "agentpane"
ACCOUNT = "anthropic"
FROM_KEYRING = "the system's keyring"
FROM_FILE = "AgentPane's key file"
FILE_WARNING = "No system keyring is available: the key is kept in a file that only you can read."


class KeyChain:
    """Finds, keeps and forgets the key. Keyring calls may wait for a person, so they run in a thread."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "anthropic.key"

    async def status(self, environment: Mapping[str, str]) -> KeyStatus:
        """Where a run with this environment would take its key from."""
        if await asyncio.to_thread(self._from_keyring):
            return KeyStatus(KeySource.KEYRING, "")
        if environment.get("ANTHROPIC_API_KEY") or environment.get("ANTHROPIC_AUTH_TOKEN"):
            return KeyStatus(KeySource.ENVIRONMENT, "")
        if await asyncio.to_thread(self._from_file):
            return KeyStatus(KeySource.FILE, FILE_WARNING)
        return KeyStatus(KeySource.NONE, "")

    async def store(self, key: str) -> KeyStatus:
        """Keep `key`, or forget the kept one if it is empty."""
        return await asyncio.to_thread(self._store, key.strip())

    async def endpoint(self, environment: Mapping[str, str], base_url: str) -> Endpoint:
        """Where a run speaks to, and with which key.

        environment: the client's own ANTHROPIC_* variables. An address that comes from there gets the
            key that comes from there, never the stored one: it may be somebody else's server.
        base_url: the person's setting, used where the environment names no address.
        Raises AgentPaneError with BACKEND_AUTH when there is no key; a server on this machine needs none.
        """
        named = environment.get("ANTHROPIC_BASE_URL", "").strip()
        url = named or base_url.strip() or None
        own = environment.get("ANTHROPIC_API_KEY") or None
        token = environment.get("ANTHROPIC_AUTH_TOKEN") or None
        if named:
            if own or token or _on_this_machine(named):
                return Endpoint(url, own or (None if token else "none"), token, source=_named(own, token))
            raise missing_key(f"No key came with the address {named}.")
        stored = await asyncio.to_thread(self._from_keyring)
        key = stored or own or (None if token else await asyncio.to_thread(self._from_file))
        if key is None and token is None:
            if url is not None and _on_this_machine(url):
                return Endpoint(url, "none", None)
            raise missing_key("There is no key for the model API.")
        source = FROM_KEYRING if stored else _named(own, token) or FROM_FILE
        return Endpoint(url, key, None if key else token, source=source)

    def _store(self, key: str) -> KeyStatus:
        if not key:
            self._forget()
            return KeyStatus(KeySource.NONE, "")
        if keyring_is_safe():
            try:
                keyring.set_password(SERVICE, ACCOUNT, key)
            except keyring.errors.KeyringError:
                pass
            else:
                self._file.unlink(missing_ok=True)
                return KeyStatus(KeySource.KEYRING, "")
        part = self._file.with_suffix(".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(key)
        part.replace(self._file)
        return KeyStatus(KeySource.FILE, FILE_WARNING)

    def _forget(self) -> None:
        self._file.unlink(missing_ok=True)
        if keyring_is_safe() and self._from_keyring():
            keyring.delete_password(SERVICE, ACCOUNT)

    def _from_keyring(self) -> str | None:
        if not keyring_is_safe():
            return None
        try:
            return keyring.get_password(SERVICE, ACCOUNT) or None
        except keyring.errors.KeyringError:
            return None

    def _from_file(self) -> str | None:
        try:
            with open(self._file, encoding="utf-8") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    return None
                return file.read().strip() or None
        except OSError:
            return None


def missing_key(message: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_AUTH,
        message,
        hint="Enter a key in Settings, or set ANTHROPIC_API_KEY where you start the command. Nothing was sent.",
    )


def keyring_is_safe() -> bool:
    """False for a keyring that keeps nothing, or keeps it in plain text."""
    chosen = type(keyring.get_keyring())
    if chosen.__module__.startswith("keyrings.alt"):
        return False
    return chosen not in (keyring.backends.fail.Keyring, keyring.backends.null.Keyring)


def _named(own: str | None, token: str | None) -> str:
    """The variable that the key of a request comes from; nothing where it comes from none."""
    return "ANTHROPIC_API_KEY" if own else "ANTHROPIC_AUTH_TOKEN" if token else ""


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The person's settings and the key for the model API: read, checked, changed and announced."""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from agentpane.api import commands as c
from agentpane.api.events import KeyChanged, SettingsChanged
from agentpane.db import audit, settings
from agentpane.domain.budgets import check_budget
from agentpane.domain.engine import KeyStatus, Settings
from agentpane.domain.json import JsonValue
from agentpane.domain.limits import check_line, invalid
from agentpane.domain.mcp import check_servers
from agentpane.domain.review import MergeStrategy
from agentpane.orchestrator.agents.keys import KeyChain
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.mcp.registry import OWN_CHAIN, Registry, told_of_setting


@dataclass(frozen=True, slots=True)
class Preferences:
    core: Core
    registry: Registry
    keys: KeyChain

    async def get(self, command: c.GetSettings) -> Settings:
        return await self.core.db.read(settings.get)

    async def change(self, command: c.ChangeSettings) -> Settings:
        """Raises VALIDATION_ERROR naming the setting; then nothing has changed."""
        wanted = command.settings
        _check(wanted)
        before = await self.core.db.read(settings.get)
        changed: dict[str, JsonValue] = {
            field.name: told_of_setting(getattr(wanted, field.name))
            for field in fields(wanted)
            if getattr(wanted, field.name) != getattr(before, field.name)
        }

        def store(connection: settings.Connection) -> None:
            settings.put(connection, wanted, self.core.clock.now())
            audit.append(connection, (self.core.record("setting", OWN_CHAIN, input=changed),))

        await self.core.db.write(store)
        await self.registry.forget_unused(before, wanted)
        self.core.bus.publish(SettingsChanged(wanted))
        return wanted

    async def key_status(self, command: c.GetKeyStatus) -> KeyStatus:
        return await self.keys.status(command.environment)

    async def store_key(self, command: c.StoreKey) -> KeyStatus:
        status = await self.keys.store(command.key)
        act = "key.store" if command.key.strip() else "key.forget"
        await self.core.audit(self.core.record(act, OWN_CHAIN, output={"source": status.source.value}))
        self.core.bus.publish(KeyChanged(status))
        return status


def _check(wanted: Settings) -> None:
    if wanted.theme not in {"system", "light", "dark"}:
        raise invalid("theme", "The theme is system, light or dark.")
    if wanted.merge_strategy not in set(MergeStrategy):
        raise invalid("merge_strategy", "The merge strategy is merge, squash or ff.")
    if wanted.base_url:
        if not wanted.base_url.startswith(("http://", "https://")):
            raise invalid("base_url", "The address must begin with http:// or https://.")
        check_line("base_url", wanted.base_url, 500)
        if "@" in urlsplit(wanted.base_url).netloc:
            raise invalid("base_url", "The address must hold no name or password: keys go to the keyring.")
    check_budget("day_budget", wanted.day_budget)
    check_servers(wanted.mcp_servers)

"""The person's settings, and other values kept by a key."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection as Connection
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from agentpane.db.schema import SettingTable
from agentpane.domain.budgets import Budget
from agentpane.domain.engine import McpServer, Settings
from agentpane.domain.json import JsonValue

_S = SettingTable
_PERSON = "person"


class SettingsDocument(BaseModel):
    """The person's settings as they are stored. Unknown keys are dropped: a newer program may have written them."""

    model_config = ConfigDict(extra="ignore")

    theme: str = Settings().theme
    default_model: str = Settings().default_model
    base_url: str = Settings().base_url
    merge_strategy: str = Settings().merge_strategy
    approved_by: str = Settings().approved_by
    day_budget: Budget = Settings().day_budget
    mcp_servers: tuple[McpServer, ...] = ()


def get(connection: Connection) -> Settings:
    """The person's settings; what was never set has its default."""
    stored = SettingsDocument.model_validate(get_value(connection, _PERSON) or {})
    return Settings(**{name: getattr(stored, name) for name in SettingsDocument.model_fields})


def put(connection: Connection, settings: Settings, at: datetime) -> Settings:
    put_value(connection, _PERSON, asdict(settings), at)
    return get(connection)


def get_value(connection: Connection, key: str) -> JsonValue:
    """What is kept under a key; None if there is nothing."""
    value: JsonValue = connection.execute(select(_S.value).where(_S.key == key)).scalar_one_or_none()
    return value


def put_value(connection: Connection, key: str, value: JsonValue, at: datetime) -> None:
    """Keep a value under a key, in place of what was there; None forgets it."""
    if value is None:
        connection.execute(delete(_S).where(_S.key == key))
        return
    put_in = insert(_S).values(key=key, value=value, updated_at=at)
    newest = {"value": put_in.excluded.value, "updated_at": put_in.excluded.updated_at}
    connection.execute(put_in.on_conflict_do_update(index_elements=[_S.key], set_=newest))

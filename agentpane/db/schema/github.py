"""The tables of the GitHub App: its installations, and what is known of their repositories."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentpane.db import documents
from agentpane.db.columns import Json, Words, json_default, one_of
from agentpane.db.schema.base import Base, Times, identifier, moment, moment_now, refers


class InstallationStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class InstallationTable(Base):
    """An installation of the GitHub App, under GitHub's own id."""

    __tablename__ = "github_installations"

    id: Mapped[str] = identifier()
    account_id: Mapped[str] = mapped_column(Text, nullable=False)
    account_login: Mapped[str] = mapped_column(Text, nullable=False)
    account_type: Mapped[str] = mapped_column(Text, nullable=False)
    account_avatar_url: Mapped[str | None] = mapped_column(Text)
    status: Mapped[InstallationStatus] = mapped_column(
        one_of(InstallationStatus, "status"), nullable=False, server_default=text("'active'")
    )
    permissions: Mapped[dict[str, str]] = mapped_column(
        Json("list of permissions", documents.PERMISSIONS), nullable=False, server_default=json_default({})
    )
    repository_selection: Mapped[str | None] = mapped_column(Text)
    installed_at: Mapped[datetime] = moment_now()
    updated_at: Mapped[datetime] = moment_now()
    suspended_at: Mapped[datetime | None] = moment()

    __table_args__ = (Index("github_installations_account_idx", "account_login"),)


class RepositoryConfigTable(Times, Base):
    """A repository's configuration as last read from GitHub."""

    __tablename__ = "repository_configs"

    id: Mapped[str] = identifier()
    installation_id: Mapped[str] = mapped_column(Text, refers("github_installations.id", "CASCADE"), nullable=False)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    repo: Mapped[str] = mapped_column(Text, nullable=False)
    full_name: Mapped[str] = mapped_column(Text, nullable=False)
    config_path: Mapped[str] = mapped_column(Text, nullable=False, server_default=text("'.claude'"))
    config_sha: Mapped[str | None] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(
        Json("repository configuration", documents.OBJECT), nullable=False, server_default=json_default({})
    )
    last_synced_at: Mapped[datetime | None] = moment()
    sync_error: Mapped[str | None] = mapped_column(Words)
    default_branch: Mapped[str | None] = mapped_column(Text, server_default=text("'main'"))
    is_private: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="is_private"), nullable=False, server_default=text("0")
    )

    __table_args__ = (
        Index("repository_configs_installation_idx", "installation_id"),
        Index("repository_configs_full_name_idx", "full_name"),
        Index("repository_configs_owner_repo_idx", "owner", "repo"),
    )

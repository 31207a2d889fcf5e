"""What all tables share: the metadata, how constraints are named, and the columns that many have."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import ForeignKey, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

from agentpane.db.columns import Moment, now_default

NAMING = {
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
}


class Base(DeclarativeBase):
    """Every table of the database."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING)


def identifier() -> MappedColumn[str]:
    """A cuid2 that the writer makes."""
    return mapped_column(Text, primary_key=True)


def refers(target: str, on_delete: str) -> ForeignKey:
    return ForeignKey(target, ondelete=on_delete)


def moment() -> MappedColumn[datetime | None]:
    return mapped_column(Moment)


def moment_now() -> MappedColumn[datetime]:
    return mapped_column(Moment, nullable=False, server_default=now_default())


class Times:
    """When a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(Moment, nullable=False, server_default=now_default(), sort_order=100)
    updated_at: Mapped[datetime] = mapped_column(Moment, nullable=False, server_default=now_default(), sort_order=101)

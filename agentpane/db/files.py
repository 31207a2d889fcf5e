"""The database as a file: checked, copied, and put back. Standard library only, and no migration.

Only `backup` is for a database that is open: it reads through SQLite, since closing a descriptor of
one's own on the file would drop the engine's locks.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from agentpane.db.faults import corrupt, locked, store_error
from agentpane.domain.limits import invalid
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder, shipped

_MAGIC = b"SQLite format 3\0"
JOURNALS = ("-wal", "-journal")
_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py")


def known_revisions() -> tuple[str, ...]:
    """The revisions that this program can read, oldest first; the last is the one that it writes."""
    names = (file.name for file in (shipped("migrations") / "versions").iterdir())
    return tuple(sorted(match[1] for name in names if (match := _REVISION_FILE.fullmatch(name))))


@contextlib.contextmanager
def plain_connection(file: Path, *, writable: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that makes no file, with SQLite's faults put in words."""
    address = f"file:{quote(os.fsencode(file))}?mode={'rw' if writable else 'ro'}"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        worded = store_error(error)
        if worded is None:
            raise
        raise worded from error


def read_revision(file: Path) -> str | None:
    """The revision that wrote this file, which no engine may have open, or None for one with no tables at all.

    Raises AgentPaneError with STORE_CORRUPT if it is not an AgentPane database, and with STORE_TOO_NEW if a newer
    program wrote it.
    """
    if not _has_magic(file):  # SQLite would take a file that is too short for an empty database
        raise corrupt("The file is not a database.")
    with plain_connection(file) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise corrupt("The file is a database, but not one of AgentPane's.")
        found = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    if len(found) != 1:
        raise corrupt("The database does not say which version wrote it.")
    if found[0] not in known_revisions():
        raise AgentPaneError(
            ErrorCode.STORE_TOO_NEW,
            "The database was written by a newer version of AgentPane.",
            hint="Install that version, or put a backup back with `agentpane db restore`. Nothing has been changed.",
            details={"revision": str(found[0]), "known": known_revisions()[-1]},
        )
    return str(found[0])


def faults(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What SQLite finds wrong, one line each; empty when nothing is."""
    try:
        damage = tuple(str(line) for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok")
        if damage:
            return damage  # references cannot be followed through damaged pages
        return tuple(
            f"{table}: row {row} refers to a row of {parent} that does not exist"
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check")
        )
    except sqlite3.DatabaseError as error:
        worded = store_error(error)
        if worded is None or worded.code is not ErrorCode.STORE_CORRUPT:
            raise
        return (str(error),)


def copy(source: Path, target: Path) -> None:
    """Copy a database, consistent at one moment, into one new file of mode 0600. A copy that fails leaves nothing."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with plain_connection(source) as reading, plain_connection(target, writable=True) as writing:
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
        _sync(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def backup(folder: DataFolder, file: Path) -> Path:
    """Copy the database to `file`, which must not exist yet. Returns its absolute path."""
    target = file.expanduser().absolute()
    try:
        copy(folder.database, target)
    except FileExistsError as error:
        raise invalid("file", f"{target} exists already.", "Choose another name; nothing is overwritten.") from error
    except OSError as error:
        raise invalid("file", f"{target} cannot be written: {error.strerror}.") from error
    return target


def copy_as_it_is(folder: DataFolder, file: Path) -> Path:
    """Copy a database that cannot be opened, byte for byte, and its journal beside the copy. Returns the copy's path.

    Raises AgentPaneError with VALIDATION_ERROR if one of the names is taken or cannot be written.
    """
    target = file.expanduser().absolute()
    made: list[Path] = []
    try:
        for ending in ("", *JOURNALS):
            source = folder.database.with_name(folder.database.name + ending)
            if ending and not source.exists():
                continue
            copied = target.with_name(target.name + ending)
            with open(source, "rb") as old:
                descriptor = os.open(copied, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                made.append(copied)
                with open(descriptor, "wb") as new:
                    shutil.copyfileobj(old, new)
            _sync(copied)
    except OSError as error:
        for copied in made:
            copied.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise invalid("file", f"{error.filename} exists already.", "Choose another name.") from error
        raise invalid("file", f"{target} cannot be written: {error.strerror}.") from error
    return target


def restore(folder: DataFolder, file: Path) -> Path:
    """Put the backup `file` in the place of the database, which nobody may have open.

    Returns where the database that was there is kept, or the database's own path if there was none.
    Raises AgentPaneError with VALIDATION_ERROR, STORE_CORRUPT or STORE_TOO_NEW; then nothing has changed.
    """
    source = file.expanduser().absolute()
    if not source.is_file():
        raise invalid("file", f"{source} does not exist.", "Name a file made by `agentpane db backup`.")
    folder.make()
    incoming = folder.root / f"{folder.database.name}.incoming"
    incoming.unlink(missing_ok=True)
    copy(source, incoming)
    try:
        if read_revision(incoming) is None:
            raise corrupt("The file is an empty database.")
        with plain_connection(incoming) as connection:
            found = faults(connection)
        if found:
            raise corrupt(f"The backup is damaged: {found[0]}")
        kept = put_aside(folder, "before-restore")
        os.replace(incoming, folder.database)
        _sync(folder.root)
    finally:
        incoming.unlink(missing_ok=True)
    return kept or folder.database


def put_aside(folder: DataFolder, why: str) -> Path | None:
    """Keep the present database among the backups, whole or damaged. It stays in place, without its journal."""
    database = folder.database
    if not database.exists():
        return None
    _empty_journal(database)
    kept = backup_name(folder, why)
    os.link(database, kept)
    for ending in ("-wal", "-shm"):
        beside = database.with_name(database.name + ending)
        if beside.exists():
            os.replace(beside, kept.with_name(kept.name + ending))
    return kept


def backup_name(folder: DataFolder, why: str) -> Path:
    """A name among the backups that is not taken."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for counter in range(1, 10_000):
        suffix = "" if counter == 1 else f"-{counter}"
        name = folder.backups / f"agentpane-{stamp}-{why}{suffix}.db"
        if not name.exists():
            return name
    raise locked("The backups folder has no free name.", "Remove old backups from it.")


def _empty_journal(database: Path) -> None:
    # A damaged database refuses; then its journal is kept beside it as it is. Of a file that is none at all
    # SQLite would delete the journal.
    if not _has_magic(database):
        return
    with contextlib.suppress(AgentPaneError), plain_connection(database, writable=True) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _has_magic(file: Path) -> bool:
    with open(file, "rb") as content:
        return content.read(len(_MAGIC)) == _MAGIC


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Numbers, times and money as the person's locale writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from PySide6.QtCore import QCoreApplication, QDateTime, QLocale

from agentpane.domain.runs import Run
from agentpane.domain.tasks import RunBrief


def locale() -> QLocale:
    """The person's locale; where the system names none ("C"), English as it is written in the United States."""
    own = QLocale()
    if own.language() is QLocale.Language.C:
        return QLocale(QLocale.Language.English, QLocale.Country.UnitedStates)
    return own


def count(number: int) -> str:
    return locale().toString(number)


def money(dollars: float | None) -> str:
    """A cost; an unknown one is said to be unknown, never nothing."""
    if dollars is None:
        return QCoreApplication.translate("figures", "cost unknown")
    digits = 4 if 0 < dollars < 0.01 else 2
    return locale().toCurrencyString(dollars, "$", digits)


def percent(share: float) -> str:
    """A share of 1.0 in whole percent; a little is not nothing."""
    if 0 < share < 0.005:
        return QCoreApplication.translate("figures", "<1 %")
    return QCoreApplication.translate("figures", "{0} %").format(count(round(share * 100)))


def elapsed(start: datetime | None, end: datetime | None = None) -> str:
    if start is None:
        return ""
    return duration(((end or datetime.now(UTC)) - start).total_seconds())


def worked(run: Run | RunBrief) -> str:
    """How long a run has worked until now, or until it came to rest."""
    if run.started_at is None:
        return elapsed(None)
    return elapsed(run.started_at + timedelta(milliseconds=run.rested_ms), run.ended_at or run.paused_at)


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return QCoreApplication.translate("figures", "{0} s").format(count(whole))
    if whole < 3600:
        return QCoreApplication.translate("figures", "{0} m {1} s").format(count(whole // 60), f"{whole % 60:02d}")
    if whole < 86400:
        return QCoreApplication.translate("figures", "{0} h {1} m").format(
            count(whole // 3600), f"{whole % 3600 // 60:02d}"
        )
    return QCoreApplication.translate("figures", "{0} d {1} h").format(count(whole // 86400), whole % 86400 // 3600)


def milliseconds(number: int) -> str:
    if number < 1000:
        return QCoreApplication.translate("figures", "{0} ms").format(count(number))
    if number < 60_000:
        return QCoreApplication.translate("figures", "{0} s").format(locale().toString(number / 1000, "f", 1))
    return duration(number / 1000)


def moment(when: datetime) -> str:
    """A point in time, in the person's own zone."""
    local = QDateTime.fromSecsSinceEpoch(int(when.timestamp()))
    return locale().toString(local, QLocale.FormatType.ShortFormat)


def clock(when: datetime) -> str:
    local = QDateTime.fromSecsSinceEpoch(int(when.timestamp()))
    return locale().toString(local.time(), QLocale.FormatType.ShortFormat)


def plural(number: int, one: str, many: str) -> str:
    """`one` or `many` with the number in it; both are translated by the caller."""
    return (one if number == 1 else many).format(count(number))


def tokens(number: int) -> str:
    """A number of tokens, in thousands or millions where it is large."""
    if number < 10_000:
        return count(number)
    if number >= 1_000_000:
        return QCoreApplication.translate("figures", "{0} M").format(locale().toString(number / 1_000_000, "f", 1))
    return QCoreApplication.translate("figures", "{0} k").format(locale().toString(number / 1000, "f", 1))


def size(number: int) -> str:
    """A number of bytes, in the largest unit that fits."""
    return locale().formattedDataSize(number, 1, QLocale.DataSizeFormat.DataSizeSIFormat)


def ago(when: datetime) -> str:
    """How long ago something was, in its largest unit."""
    seconds = (datetime.now(UTC) - when).total_seconds()
    if seconds < 60:
        return QCoreApplication.translate("figures", "just now")
    return QCoreApplication.translate("figures", "{0} ago").format(rough(seconds))


def rough(seconds: float) -> str:
    """A length of time in its largest unit, in words; at least a minute."""

    def tr(text: str) -> str:
        return QCoreApplication.translate("figures", text)

    if seconds >= 86400:
        return plural(int(seconds // 86400), tr("{0} day"), tr("{0} days"))
    if seconds >= 3600:
        return plural(int(seconds // 3600), tr("{0} hour"), tr("{0} hours"))
    return plural(max(int(seconds // 60), 1), tr("{0} minute"), tr("{0} minutes"))

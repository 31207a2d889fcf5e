"""What models have cost, in words: one line's figures, and the sum of several. No widget."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from PySide6.QtCore import QCoreApplication, QDate, QLocale

from agentpane.domain.costs import CostGroup, CostLine
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import one_line

GROUPS = (CostGroup.DAY, CostGroup.PROJECT, CostGroup.AGENT, CostGroup.TASK, CostGroup.RUN, CostGroup.MODEL)


def tr(text: str) -> str:
    return QCoreApplication.translate("costs", text)


def group_title(group: CostGroup) -> str:
    return {
        CostGroup.DAY: tr("Day"),
        CostGroup.PROJECT: tr("Project"),
        CostGroup.AGENT: tr("Agent"),
        CostGroup.TASK: tr("Task"),
        CostGroup.RUN: tr("Run"),
        CostGroup.MODEL: tr("Model"),
    }[group]


def add_up(lines: Iterable[CostLine]) -> CostLine:
    """All lines as one."""
    whole = CostLine("", "", 0, 0, 0, 0, 0, 0.0, 0, 0)
    for line in lines:
        whole = CostLine(
            "",
            "",
            whole.calls + line.calls,
            whole.input_tokens + line.input_tokens,
            whole.output_tokens + line.output_tokens,
            whole.cache_read_tokens + line.cache_read_tokens,
            whole.cache_write_tokens + line.cache_write_tokens,
            whole.cost_usd + line.cost_usd,
            whole.unpriced + line.unpriced,
            whole.latency_ms + line.latency_ms,
        )
    return whole


def name_of(line: CostLine, group: CostGroup) -> str:
    """What a line is called: a day as the locale writes it, a run by its task and the beginning of its id."""
    if group is CostGroup.DAY:
        return day_words(line.key)
    label = one_line(line.label) or one_line(line.key)
    return f"{label}  ·  {line.key[:6]}" if group is CostGroup.RUN and line.label else label


def day_words(key: str) -> str:
    day = as_day(key)
    if day is None:
        return key
    return figures.locale().toString(QDate(day.year, day.month, day.day), QLocale.FormatType.ShortFormat)


def as_day(key: str) -> date | None:
    try:
        return date.fromisoformat(key)
    except ValueError:
        return None


def read_tokens(line: CostLine) -> int:
    """All that the models have read, the cache's part included."""
    return line.input_tokens + line.cache_read_tokens + line.cache_write_tokens


def cached_share(line: CostLine) -> float | None:
    """How much of what was read the cache has served."""
    read = read_tokens(line)
    return line.cache_read_tokens / read if read else None


def cached_words(line: CostLine) -> str:
    share = cached_share(line)
    return "–" if share is None else figures.percent(share)


def wait_words(line: CostLine) -> str:
    """How long a request took, on the average."""
    return figures.milliseconds(round(line.latency_ms / line.calls)) if line.calls else "–"


def is_unknown(line: CostLine) -> bool:
    return bool(line.calls) and line.unpriced == line.calls


def cost_words(line: CostLine) -> str:
    """The known cost; what is unknown is said to be unknown, never nothing."""
    if is_unknown(line):
        return tr("unknown")
    words = figures.money(line.cost_usd)
    return tr("{0} + {1} unknown").format(words, figures.count(line.unpriced)) if line.unpriced else words

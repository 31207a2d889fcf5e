"""`python -m benchmarks [ROW...]`: run the rows asked for, or all of them, and print what they found.

A missed target is shown, and is no failure: the figures are for people to read.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Mapping, Sequence

import benchmarks
from benchmarks.harness import Figure

ROW_MODULE = re.compile(r"row_(\d+)_\w+")
COLUMNS = "{:<60} {:>12} {:>12} {:>8} {:>9}  {}"


def rows() -> Mapping[int, str]:
    """The module of each row, by its number."""
    names = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    found = {int(match[1]): f"benchmarks.{name}" for name in names if (match := ROW_MODULE.fullmatch(name))}
    return dict(sorted(found.items()))


def line(figure: Figure) -> str:
    return COLUMNS.format(
        figure.name,
        f"{figure.ours:.4g} {figure.unit}",
        f"{figure.floor:.4g} {figure.unit}",
        f"{figure.ratio:.3g}",
        str(figure.target),
        "met" if figure.met else "MISSED",
    )


def main(arguments: Sequence[str]) -> int:
    there = rows()
    wanted = [int(argument) for argument in arguments if argument.isdecimal()] or list(there)
    unknown = [argument for argument in arguments if not argument.isdecimal() or int(argument) not in there]
    if unknown:
        print(f"no such row: {', '.join(unknown)}; there are: {', '.join(map(str, there)) or 'none'}", file=sys.stderr)
        return 2
    if not wanted:
        print("there are no rows")
    for number in wanted:
        module = importlib.import_module(there[number])
        print(f"\n{number}. {(module.__doc__ or '').strip().splitlines()[0]}")
        print(COLUMNS.format("", "ours", "floor", "ratio", "target", ""))
        for figure in module.run():
            print(line(figure), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command: python3 -m fairshare trips/lisbon.txt"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fairshare import report
from fairshare.ledger import LedgerError, parse


def main() -> int:
    parser = argparse.ArgumentParser(prog="fairshare", description="Who owes whom after a trip.")
    parser.add_argument("ledger", type=Path, help="a text file with the trip's bills")
    options = parser.parse_args()
    try:
        ledger = parse(options.ledger.read_text(encoding="utf-8"))
    except (LedgerError, OSError) as error:
        print(f"fairshare: {error}", file=sys.stderr)
        return 1
    print(report.text(ledger))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Get what the machine lacks: with apt-get where we may, otherwise as the one command to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence

from devtools.needs import FONT_PACKAGES, Lack, Use, lacking
from devtools.processes import quietly, starts
from devtools.words import SetupError, say

APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a"}


def require(uses: Use) -> None:
    """Return when the machine has what these uses need. What is optional and missing is said and lived without.

    Raises SetupError with the command to type when something is missing that nothing goes without.
    """
    lacks = lacking(uses)
    if not lacks:
        return
    say("this machine lacks " + "; ".join(lack.what for lack in lacks))
    if _installed(lacks):
        lacks = lacking(uses)
    needed = [lack for lack in lacks if lack.without is None]
    if needed:
        missing = "; ".join(lack.what for lack in needed)
        raise SetupError(f"cannot go on without {missing}.\n{how_to_install(lacks)}")
    for lack in lacks:
        say(f"going on without {lack.what}: {lack.without}.")
    if lacks:
        say(how_to_install(lacks))


def supply(lack: Lack) -> None:
    """Install one thing that nothing goes without, or raise SetupError with the command to type."""
    if not _installed([lack]):
        raise SetupError(f"cannot go on without {lack.what}.\n{how_to_install([lack])}")


def packages_for(lacks: Iterable[Lack]) -> list[str]:
    return sorted({package for lack in lacks for package in lack.packages})


def how_to_install(lacks: Sequence[Lack], platform: str = sys.platform) -> str:
    """One line that a person can type, for the package manager that this machine has."""
    if platform == "darwin":
        return "To install: brew install " + " ".join(sorted({lack.brew for lack in lacks if lack.brew}))
    packages = " ".join(packages_for(lacks))
    if shutil.which("apt-get"):
        return f"To install: sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}"
    return f"Install them with your package manager; Debian's names are: {packages}"


def _root_prefix() -> list[str] | None:
    """How to run something as root without asking for a password, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    return ["sudo", "-n"] if starts(["sudo", "-n", "true"]) else None


def _installed(lacks: Sequence[Lack]) -> bool:
    """Install their packages where we may. False: we may not, or apt-get refused."""
    root = _root_prefix()
    if root is None or shutil.which("apt-get") is None:
        return False
    packages = packages_for(lacks)
    say("installing " + " ".join(packages))
    prefix = [*root, "env", *(f"{name}={value}" for name, value in APT_ENVIRONMENT.items())]
    if not quietly([*prefix, "apt-get", "update", "-q"]):
        say("apt-get update failed; going on with the lists that are there")
    there = [package for package in packages if package not in FONT_PACKAGES or _offered(package)]
    return quietly([*prefix, "apt-get", "install", "-y", "-q", "--no-install-recommends", *there])


def _offered(package: str) -> bool:
    """Whether apt can install it: not every release has every font."""
    policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in policy and "Candidate: (none)" not in policy

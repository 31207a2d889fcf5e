"""Which settings are forced on every call of git, and which of the repository's must be blanked for it.

Reads the output of `git config --list`; starts nothing itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.worktrees.git.files import is_endless

# Whatever the configuration says, these hold.
ALWAYS: Mapping[str, str] = {
    "advice.graftFileDeprecated": "false",  # the runner points git at an empty one
    "core.hooksPath": os.devnull,
    "core.bigFileThreshold": "512m",  # a file over it is shown as binary
    "core.commitGraph": "false",  # git believes what it says of a commit's tree and parents
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.trustCtime": "true",
    "core.checkStat": "default",
    "core.ignoreStat": "false",
    "core.filesRefLockTimeout": "100",
    "core.packedRefsTimeout": "1000",
    "core.preferSymlinkRefs": "false",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.splitIndex": "false",
    "core.sshCommand": "false",
    "core.editor": ":",
    "core.pager": "cat",
    "core.askPass": "",
    "core.alternateRefsCommand": "",
    "credential.helper": "",
    "diff.external": "",
    "protocol.allow": "never",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gpg.program": "false",
    "gpg.ssh.program": "false",
    "gpg.ssh.defaultKeyCommand": "",
    "gpg.x509.program": "false",
    "log.showSignature": "false",
    "merge.verifySignatures": "false",
    "merge.autoStash": "false",
    "pull.twohead": "ort",  # the strategy of a merge that names none
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "i18n.commitEncoding": "UTF-8",
    "checkout.workers": "4",
}

FALLBACK_NAME = "AgentPane"
FALLBACK_EMAIL = "agentpane@localhost"
# What is kept for the person alone is signed by the program, whether or not they have told git their name.
SIGNED = {"user.name": FALLBACK_NAME, "user.email": FALLBACK_EMAIL, "i18n.commitEncoding": "UTF-8"}

# What git does with text by itself, in the place of a driver's own command.
_TEXT_MERGE = "git merge-file --marker-size=%L %A %O %B"
# Several workers write the files sooner where a core is free, and take more time in all where none is. In a checkout of
# the person's one file is written at a time, so that a git that is killed leaves few of them away.
ONE_WORKER = {"checkout.workers": "1"}
# With it on, git clears the mark of a left-out file that is there, and takes files away that the patterns leave out.
WHOLE = {"core.sparseCheckout": "false"}
_COMMANDS = re.compile(
    r"(?P<kind>filter|diff|merge|hook)\.(?P<name>.*)\.(?P<key>clean|smudge|process|required|command|textconv|driver)",
    re.DOTALL,
)
_PERSONS_SCOPES = frozenset({"system", "global"})


@dataclass(frozen=True, slots=True)
class Pins:
    """Settings to hand to one call of git, and the configuration they were made from."""

    config: Mapping[str, str] = field(default_factory=lambda: dict(ALWAYS))
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    scope: str
    origin: str
    key: str  # section and name in lower case, the part between as written
    value: str

    def lies_in(self, folders: tuple[Path | None, ...]) -> bool:
        """Whether the file that it came from lies in one of these folders."""
        file = Path(os.path.realpath(self.origin.removeprefix("file:")))
        return any(folder is not None and file.is_relative_to(folder) for folder in folders)

    def is_persons(self, repository: tuple[Path | None, ...]) -> bool:
        return self.scope in _PERSONS_SCOPES and not self.lies_in(repository)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of a repository, in the order in which git applies it."""

    settings: tuple[Setting, ...]

    def values(self) -> dict[str, str]:
        return {setting.key: setting.value for setting in self.settings}

    def first_endless(self) -> Path | None:
        """A pipe or a device among the files that settings name, and that git reads."""
        values = self.values()
        named = (os.path.expanduser(values.get(key, "")) for key in ("core.excludesfile", "core.attributesfile"))
        return next((Path(path) for path in named if path and is_endless(path)), None)

    def filters(self) -> frozenset[str]:
        """Filters that change what git stores or checks out, or without which it refuses to."""
        found = ((_COMMANDS.fullmatch(key), value) for key, value in self.values().items())
        return frozenset(
            each["name"]
            for each, value in found
            if each is not None
            and each["kind"] == "filter"
            and (value.lower() in TRUE if each["key"] == "required" else value)
        )

    def pins(
        self, own_filters: bool, allowed_filters: frozenset[str], repository: tuple[Path | None, ...] = ()
    ) -> Pins:
        """The settings to force, with every configured command blanked by name.

        own_filters: keep the filters that the person has configured outside of the repository, for the step
            that updates their own checkout; what the repository's own configuration says of them is undone.
        repository: folders whose files are not the person's word, though their configuration includes one.
        """
        config = dict(ALWAYS)
        values = self.values()
        for setting in self.settings:
            found = _COMMANDS.fullmatch(setting.key)
            if found is None:
                continue
            kind, name = found["kind"], found["name"]
            if kind == "filter" and name in allowed_filters:
                # The person's own command, where there is one, and not what the repository says of it.
                if any(each.key == setting.key and each.is_persons(repository) for each in self.settings):
                    config[setting.key] = self._persons_own(setting.key, repository)
                continue
            if kind == "filter" and own_filters:
                config[setting.key] = self._persons_own(setting.key, repository)
            elif kind == "merge":
                config[setting.key] = _TEXT_MERGE
            elif kind == "hook":
                config[f"hook.{name}.enabled"] = "false"
            else:
                config[setting.key] = "false" if found["key"] == "required" else ""
        if values.get("core.ignorecase", "").lower() in TRUE and _tells_case_apart(repository):
            config["core.ignoreCase"] = "false"
        if not values.get("user.email") and not values.get("author.email"):
            config["user.email"] = FALLBACK_EMAIL
        if not values.get("user.name") and not values.get("author.name"):
            config["user.name"] = FALLBACK_NAME
        return Pins(config, values)

    def _persons_own(self, key: str, repository: tuple[Path | None, ...]) -> str:
        own = [setting.value for setting in self.settings if setting.key == key and setting.is_persons(repository)]
        return own[-1] if own else ("false" if key.endswith(".required") else "")


def _tells_case_apart(folders: tuple[Path | None, ...]) -> bool:
    """Whether names that differ in case are two names in each of these folders, as far as can be seen."""
    for folder in folders:
        if folder is not None and folder.name.swapcase() != folder.name:
            with suppress(OSError):
                if os.path.samefile(folder, folder.with_name(folder.name.swapcase())):
                    return False
    return True


TRUE = frozenset({"true", "yes", "on", "1", ""})


def parse_config(output: bytes) -> Config:
    """Read what `git config --list --show-scope --show-origin -z` prints.

    A record is `SCOPE\\0ORIGIN\\0KEY\\nVALUE\\0`; a key without a value has no newline and means "true".
    Source: git-config(1), --show-scope, --show-origin and -z.
    """
    parts = output.decode("utf-8", "surrogateescape").split("\0")[:-1]
    settings: list[Setting] = []
    for at in range(0, len(parts) - 2, 3):
        if parts[at] == "command":
            continue  # what we force on the call itself
        key, newline, value = parts[at + 2].partition("\n")
        settings.append(Setting(parts[at], parts[at + 1], key, value if newline else "true"))
    return Config(tuple(settings))


_SECOND_NS = 1_000_000_000
_FINE_NS = 100_000_000

_Fingerprint = tuple[tuple[str, tuple[int, int, int, int] | None], ...]


class ConfigCache:
    """Keeps a repository's configuration for as long as none of the files that it came from has changed.

    A file that was written just before it was read may change again without a trace, so nothing is kept then; nor
    where files include one another, since git decides anew which.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_Fingerprint, Config]] = {}

    @staticmethod
    def clock() -> int:
        return time.time_ns()

    def get(self, git_dir: Path) -> Config | None:
        known = self._known.get(git_dir)
        if known is None or _fingerprint([path for path, _ in known[0]]) != known[0]:
            return None
        return known[1]

    def put(self, git_dir: Path, common_dir: Path, output: bytes, read_at: int) -> Config:
        config = parse_config(output)
        self._known.pop(git_dir, None)
        if any(setting.key.startswith(("include.", "includeif.")) for setting in config.settings):
            return config
        origins = {setting.origin.removeprefix("file:") for setting in config.settings}
        candidates = {str(common_dir / "config"), str(git_dir / "config.worktree"), *_persons_files()}
        files = sorted(candidates | {origin for origin in origins if os.path.isabs(origin)})
        fingerprint = _fingerprint(files)
        if all(stat is None or stat[1] + _step(stat[1]) < read_at for _, stat in fingerprint):
            self._known[git_dir] = fingerprint, config
        return config


def _step(moment_ns: int) -> int:
    """How long after a file's time another change may bear the same time, with room to spare.

    The kernel's clock goes on every few milliseconds; some file systems keep whole seconds, or every other one.
    """
    return _FINE_NS if moment_ns % _SECOND_NS else 2 * _SECOND_NS


def _persons_files() -> tuple[str, ...]:
    home = os.path.expanduser("~")
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return os.path.join(home, ".gitconfig"), os.path.join(config_home, "git", "config")


def _fingerprint(files: list[str]) -> _Fingerprint:
    found: list[tuple[str, tuple[int, int, int, int] | None]] = []
    for path in files:
        try:
            stat = os.stat(path)
        except OSError:
            found.append((path, None))
        else:
            found.append((path, (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)))
    return tuple(found)

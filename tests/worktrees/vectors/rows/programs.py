"""Settings that name a program: git runs it to edit, to show, to ask, to sign, to reach, to compare and to convert."""

from __future__ import annotations

from collections.abc import Callable

from ..scene import Scene
from ..vector import COMMIT, Place, Vector, runs

_WHOM = b"protocol=https\nhost=nowhere.invalid\n\n"
_CHANGED = "diff HEAD~1 -- src/app.py"


def _set(*pairs: tuple[str, str]) -> Callable[[Scene, str], None]:
    """Settings, in which `@` stands for the trap."""

    def plant(scene: Scene, trap: str) -> None:
        for key, value in pairs:
            scene.config(key.replace("@", trap), value.replace("@", trap))

    return plant


def _by_attribute(attribute: str, *pairs: tuple[str, str], info: bool = False) -> Callable[[Scene, str], None]:
    """Settings, and the attribute that puts them in force for all files: in tracked files, or in the git folder."""

    def plant(scene: Scene, trap: str) -> None:
        _set(*pairs)(scene, trap)
        if info:
            (scene.common / "info").mkdir(exist_ok=True)
            (scene.common / "info" / "attributes").write_text(f"* {attribute}\n")
        else:
            scene.both(".gitattributes", f"* {attribute}\n")

    return plant


def _attributes_file(scene: Scene, trap: str) -> None:
    (scene.outside / "attributes").write_text("* filter=far\n")
    _set(("core.attributesFile", str(scene.outside / "attributes")), ("filter.far.clean", "@"))(scene, trap)


def _signed(scene: Scene) -> str:
    """A commit with a signature, on the branch `signed`."""
    tree = scene.git("rev-parse", f"{scene.first}^{{tree}}", check=True) or ""
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    made = scene.commit_object(tree, scene.first, signature)
    scene.git("branch", "-f", "signed", made, check=True)
    return made


def _show_signature(scene: Scene, trap: str) -> None:
    _signed(scene)
    _set(("log.showSignature", "true"), ("gpg.program", "@"))(scene, trap)


def _verify_signature(scene: Scene, trap: str) -> None:
    _signed(scene)
    _set(("merge.verifySignatures", "true"), ("gpg.openpgp.program", "@"))(scene, trap)


def _submodule(scene: Scene, trap: str) -> None:
    """A submodule that the developer has initialised, with an update command of the agent's."""
    scene.git("init", "-q", "--template=", str(scene.outside / "sub"), check=True)
    scene.git("-C", str(scene.outside / "sub"), "commit", "-q", "--allow-empty", "-m", "x", check=True)
    at = scene.git("-C", str(scene.outside / "sub"), "rev-parse", "HEAD", check=True)
    (scene.tree / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = {scene.outside}/sub\n')
    scene.git("update-index", "--add", "--cacheinfo", f"160000,{at},sub", check=True)
    (scene.tree / "sub").mkdir()
    _set(("submodule.sub.url", f"{scene.outside}/sub"), ("submodule.sub.update", "!@"))(scene, trap)


def _alternates(scene: Scene, trap: str) -> None:
    scene.git("init", "-q", "--bare", "--template=", str(scene.outside / "store"), check=True)
    (scene.common / "objects" / "info").mkdir(exist_ok=True)
    (scene.common / "objects" / "info" / "alternates").write_text(f"{scene.outside}/store/objects\n")
    _set(("core.alternateRefsCommand", "@"))(scene, trap)


_EDITORS = (
    runs("core.editor", _set(("core.editor", "@")), "commit -q --allow-empty"),
    runs("sequence.editor", _set(("sequence.editor", "@")), *COMMIT, "rebase -q -i HEAD~1", alone=True),
    runs("core.pager", _set(("core.pager", "@")), "log -1", terminal=True),
    runs("pager of one command", _set(("pager.show", "@")), "show HEAD", terminal=True),
    runs(
        "interactive.diffFilter",
        _set(("interactive.diffFilter", "@"), ("color.interactive", "always"), ("color.diff", "always")),
        "add -p",
        terminal=True,
        stdin=b"q\n",
    ),
    runs("an alias", _set(("alias.st", "!@")), "st"),
    runs(
        "trailer.<name>.command",
        _set(("trailer.by.command", "@")),
        "interpret-trailers --trailer by=x ../../.git/config",
    ),
    runs("tar.<format>.command", _set(("tar.own.command", "@")), "archive --format=own HEAD"),
    runs("browser.<name>.cmd", _set(("browser.own.cmd", "@"), ("web.browser", "own")), "web--browse -c web.browser x"),
    runs("man.<name>.cmd", _set(("man.viewer", "own"), ("man.own.cmd", "@")), "help git"),
    runs("difftool.<name>.cmd", _set(("diff.tool", "own"), ("difftool.own.cmd", "@")), "difftool -y HEAD"),
    runs(
        "difftool.<name>.path",
        _set(("diff.tool", "vimdiff"), ("difftool.vimdiff.path", "@")),
        "difftool -y HEAD",
        alone=True,
    ),
    runs(
        "mergetool.<name>.cmd",
        _set(("merge.tool", "own"), ("mergetool.own.cmd", "@")),
        *("checkout -q --detach", "mv -f notes.txt src/app.py", *COMMIT, "merge -q main", "mergetool -y"),
    ),
)
_REACHING = (
    runs("core.askPass", _set(("core.askPass", "@")), "credential fill", stdin=_WHOM),
    runs("credential.helper", _set(("credential.helper", "!@")), "credential fill", stdin=_WHOM, alone=True),
    runs("core.sshCommand", _set(("core.sshCommand", "@")), "ls-remote ssh://nowhere.invalid/x", silent=True),
    runs("core.gitProxy", _set(("core.gitProxy", "@")), "ls-remote git://nowhere.invalid/x"),
    runs(
        "remote.<name>.uploadpack", _set(("remote.o.url", "."), ("remote.o.uploadpack", "@")), "fetch -q o", silent=True
    ),
    runs(
        "remote.<name>.receivepack",
        _set(("remote.p.url", "."), ("remote.p.receivepack", "@")),
        "push -q p HEAD",
        silent=True,
    ),
    runs(
        "a remote of the kind ext::",
        _set(("protocol.ext.allow", "always"), ("remote.e.url", "ext::@")),
        "fetch -q e",
        silent=True,
    ),
    runs(
        "url.<base>.insteadOf",
        _set(("protocol.ext.allow", "always"), ("url.ext::@ .insteadOf", "https:")),
        "ls-remote https://x",
    ),
    runs("core.alternateRefsCommand", _alternates, "push -q . HEAD:refs/heads/pushed", silent=True, alone=True),
    runs(
        "submodule.<name>.update",
        _submodule,
        "-c protocol.file.allow=always submodule update",
        alone=True,
        refused=True,
    ),
)
_SIGNING = (
    runs("gpg.program, signing commits", _set(("commit.gpgSign", "true"), ("gpg.program", "@")), *COMMIT, alone=True),
    runs("gpg.program, signing tags", _set(("tag.gpgSign", "true"), ("gpg.program", "@")), "tag -m x x", alone=True),
    runs(
        "gpg.ssh.program",
        _set(("commit.gpgSign", "true"), ("gpg.format", "ssh"), ("user.signingKey", "k"), ("gpg.ssh.program", "@")),
        *COMMIT,
        alone=True,
    ),
    runs(
        "gpg.ssh.defaultKeyCommand",
        _set(("commit.gpgSign", "true"), ("gpg.format", "ssh"), ("gpg.ssh.defaultKeyCommand", "@")),
        *COMMIT,
        alone=True,
    ),
    runs(
        "gpg.x509.program",
        _set(("commit.gpgSign", "true"), ("gpg.format", "x509"), ("gpg.x509.program", "@")),
        *COMMIT,
        alone=True,
    ),
    runs("log.showSignature", _show_signature, "log -1 signed", alone=True),
    runs("merge.verifySignatures", _verify_signature, "merge -q signed", alone=True),
)
_FILES = (
    runs("diff.external", _set(("diff.external", "@")), "diff"),
    runs(
        "diff.<name>.command",
        _by_attribute("diff=own", ("diff.own.command", "@")),
        "diff",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "diff.<name>.command, by info/attributes",
        _by_attribute("diff=own", ("diff.own.command", "@"), info=True),
        "diff",
        alone=True,
    ),
    runs(
        "diff.<name>.textconv",
        _by_attribute("diff=own", ("diff.own.textconv", "@")),
        "diff",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "diff.<name>.textconv, by info/attributes",
        _by_attribute("diff=own", ("diff.own.textconv", "@"), info=True),
        "diff",
        alone=True,
    ),
    runs(
        "filter.<name>.clean",
        _by_attribute("filter=a=b.c", ("filter.a=b.c.clean", "@")),
        "add -A",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "filter.<name>.smudge",
        _by_attribute("filter=own", ("filter.own.smudge", "@")),
        "checkout -q reviewed -- new.txt",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "filter.<name>.process",
        _by_attribute("filter=own", ("filter.own.process", "@")),
        "add -A",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "a required filter",
        _by_attribute("filter=own", ("filter.own.clean", "@"), ("filter.own.required", "true"), info=True),
        "add -A",
        alone=True,
        refused=True,
    ),
    runs("a filter by core.attributesFile", _attributes_file, "add -A", alone=True),
    runs(
        "merge.<name>.driver",
        _by_attribute("merge=own", ("merge.own.driver", "@ %A")),
        *COMMIT,
        "merge -q --no-edit main",
        place=Place.BOTH,
        alone=True,
    ),
    runs(
        "merge.<name>.driver, by info/attributes",
        _by_attribute("merge=own", ("merge.own.driver", "@ %A"), info=True),
        *COMMIT,
        "merge -q --no-edit main",
        alone=True,
    ),
)

VECTORS: tuple[Vector, ...] = (*_EDITORS, *_REACHING, *_SIGNING, *_FILES)

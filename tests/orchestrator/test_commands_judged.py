"""Shell commands, taken apart and judged: a rule that allows is never widened, one that denies is hard to get round.

The sandbox is the wall. A denying rule is a fence in front of it: where it cannot be told whether it is climbed, a
person is asked.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpane.domain.offers import offered
from agentpane.domain.policy import Effect, Grants, Judgement, Policy, Use, Verdict, judge
from agentpane.domain.rules import parse_all
from agentpane.domain.sandbox import Tier
from agentpane.orchestrator.permissions.shell_parts import read

ALLOW, ASK, DENY = Judgement.ALLOW, Judgement.ASK, Judgement.DENY


def judged(command: str, *rules: str, policy: Policy, tier: Tier = Tier.BUBBLEWRAP) -> Verdict:
    use = Use("Bash", Effect.EXECUTE, command=command)
    return judge(use, Grants(("Bash",), policy, tier, parse_all(rules)), read(command))


# Each is judged in a careful project that allows `git status:*`, and in a free one that denies `git push:*`.
ROWS: list[tuple[str, Judgement, Judgement]] = [
    # What the rules are about
    ("git status", ALLOW, ALLOW),
    ("git status -s --branch", ALLOW, ALLOW),
    ("git push", ASK, DENY),
    ("/usr/lib/git-core/git-push", ASK, DENY),
    ("git-push origin", ASK, DENY),
    ("BASH_ENV=./x bash -c true", ASK, ASK),
    ("export BASH_ENV=x; bash -c true", ASK, ASK),
    ("hash -p /usr/bin/git zz; zz push", ASK, ASK),
    ("ssh-agent git push", ASK, DENY),
    ("git push origin main", ASK, DENY),
    ("git pushx", ASK, ALLOW),
    ("git statusx", ASK, ALLOW),
    ("git", ASK, ALLOW),
    ("ls", ASK, ALLOW),
    # Several commands
    ("git status && git push", ASK, DENY),
    ("git status; git push", ASK, DENY),
    ("git status | git push", ASK, DENY),
    ("git status || git push", ASK, DENY),
    ("git status & git push", ASK, DENY),
    ("git status\ngit push", ASK, DENY),
    ("git status &&\\\n git push", ASK, ASK),
    ("git status && git status", ALLOW, ALLOW),
    ("git status 2>&1 | git status", ALLOW, ALLOW),
    ("! git push", ASK, DENY),
    ("(git push)", ASK, DENY),
    ("{ git push; }", ASK, DENY),
    ("if git status; then git push; fi", ASK, DENY),
    ("while git status; do git push; done", ASK, DENY),
    ("until git status; do git status; done", ALLOW, ALLOW),
    ("for x in a b; do git push; done", ASK, DENY),
    ("for x in a b; do git status $x; done", ALLOW, ALLOW),
    ("for PATH in /evil; do git status; done", ASK, ALLOW),
    ("case a in a) git push;; esac", ASK, DENY),
    ("select x in a; do git push; done", ASK, DENY),
    ("f() { git push; }; f", ASK, DENY),
    ("git() { rm -rf .; }; git status", ASK, ALLOW),
    ("function git { :; }; git status", ASK, ALLOW),
    ("coproc git push", ASK, DENY),
    ("time git push", ASK, DENY),
    ("time -p git status", ALLOW, ALLOW),
    # Substitutions
    ("git status $(git push)", ASK, DENY),
    ("git status `git push`", ASK, DENY),
    ("git status `echo \\`git push\\``", ASK, ASK),
    ('git status "$(git push)"', ASK, DENY),
    ("git status <(git push)", ASK, DENY),
    ("git status > >(git push)", ASK, DENY),
    ("git status ${x:-$(git push)}", ASK, DENY),
    ("git status $((x))", ASK, ALLOW),
    ("git status ${x@P}", ASK, ALLOW),
    ("git status $x", ALLOW, ALLOW),
    ("echo '$(git push)'", ASK, ALLOW),
    ("git status <<EOF\n$(git push)\nEOF", ASK, DENY),
    ("git status <<'EOF'\n$(git push)\nEOF", ALLOW, ALLOW),
    ("git status <<EOF\nx\nEOF\ngit push", ASK, DENY),
    ("git status <<< $(git push)", ASK, DENY),
    ("cat <<EOF | git push\nx\nEOF", ASK, DENY),
    # Substitutions that the grammar does not find, or finds where the shell has none
    ("git status <<EOF\nx\n`git push`\nEOF", ASK, ASK),
    ("git status <<EOF\n  $(git push)\nEOF", ASK, ASK),
    ("git status <<-EOF\n\t$(git push)\n\tEOF", ASK, ASK),
    ('git status <<EOF\nit\'s $x "quoted" ${y}\nEOF', ALLOW, ALLOW),
    ("git status <<EOF\n${x:-<(' $(git push) ')}\nEOF", ASK, ASK),
    ("git status <<EOF && \nEOF\n>(git push)\nEOF", ASK, ASK),
    ("git status <<EOF && git status\nx\nEOF", ALLOW, ALLOW),
    ("git status <<EOF\n\nEOF", ALLOW, ALLOW),
    ("git status <<EOF\nEOF", ALLOW, ALLOW),
    ("git status <<EOF\n${x:-'}$(git push)'}\nEOF", ASK, ASK),
    ("git status <<'EOF'\n`git push` it's\nEOF", ALLOW, ALLOW),
    ("git status <<EOF\nEO\\\nF\ngit push\nEOF", ASK, ASK),
    ('git status "a$ $(git push)b"', ASK, ASK),
    ('git status "a$$(git push)"', ASK, ASK),
    ("git status ${x:-`git push`}", ASK, ASK),
    ('git status "${x:-`git push`}"', ASK, ASK),
    ("git status ${x:-<(git push)}", ASK, ASK),
    ("git status \"${x:-'}$(git push)'}\"", ASK, ASK),
    ("git status $'a\\\\' ; git push ; git status 'b\\'", ASK, ASK),
    ("git status $'a\\'b' ; git push", ASK, DENY),
    ("git status $((a[$(git push)]))", ASK, DENY),
    ("git status $((a['$(git push)']))", ASK, ASK),
    ("git status $[$(git push)]", ASK, DENY),
    ("git status `git log # ` ; git push\n`", ASK, ASK),
    ("git status $(git log # )\ngit push)", ASK, ASK),
    ("a=(`git push`) git status", ASK, DENY),
    ("git status ${x:-a #`git push`\n}", ASK, ASK),
    ("git status ${x#'`'} ${#x} ${x//a/\"b\"}", ASK, ALLOW),
    ("git status <<EOF\n$((1+a'b[$(git push)]'))\nEOF", ASK, ASK),
    ("git status $((git) | (git))", ASK, ASK),
    ("((git) | (git))", ASK, ASK),
    ("( (git push) )", ASK, DENY),
    # Texts that the shell evaluates
    ("test -v 'a[$(git push)]'", ASK, ASK),
    ("[[ -v 'a[$(git push)]' ]]", ASK, ASK),
    ("printf -v 'a[$(git push)]' x", ASK, ASK),
    ("let 'a[$(git push)]=1'", ASK, ASK),
    ("declare 'a[$(git push)]=1'", ASK, ASK),
    ("x='a[$(git push)]'; echo $((x))", ASK, ASK),
    ("x='a[$(git push)]' bash -c 'echo $((x))'", ASK, ASK),
    ("x='$(git push)'; echo ${x@P}", ASK, ASK),
    ("x='$(git push)'; git status", ASK, ALLOW),
    # Names in disguise
    ("\\git push", ASK, DENY),
    ("\\git status", ALLOW, ALLOW),
    ("g'i't push", ASK, DENY),
    ('"git" "push"', ASK, DENY),
    ("git pu\\sh", ASK, DENY),
    ("g\\\nit push", ASK, ASK),
    ("git pu\\\nsh", ASK, ASK),
    ("git sta\\\ntus", ASK, ASK),
    ("$'git' push", ASK, DENY),
    ("$'\\147it' push", ASK, ASK),
    ("/usr/bin/git push", ASK, DENY),
    ("/usr/bin/git status", ASK, ALLOW),
    ("./git status", ASK, ALLOW),
    ("../bin/git push", ASK, DENY),
    ("GIT push", ASK, DENY),
    ("gi? push", ASK, ASK),
    ("/usr/bin/g* push", ASK, ASK),
    ("{git,push}", ASK, ASK),
    ("git {push,}", ASK, ASK),
    ("~/git push", ASK, ASK),
    ("$X push", ASK, ASK),
    ("${X} push", ASK, ASK),
    ("$(echo git) push", ASK, ASK),
    ("git $X", ASK, ASK),
    ("git $X status", ASK, ASK),
    ("git$IFS'push'", ASK, ASK),
    ("git${IFS}push", ASK, ASK),
    ("IFS=x; git push", ASK, DENY),
    ("git\tpush", ASK, DENY),
    ("git\u00a0push", ASK, ASK),
    ("git\u2003status", ASK, ASK),
    ("git status\u200b", ASK, ASK),
    ("git status\r", ASK, ASK),
    ("git status\rgit push", ASK, ASK),
    ("git status\x00; git push", ASK, ASK),
    ("git status\x0bpush", ASK, ASK),
    ("gіt push", ASK, ALLOW),  # a Cyrillic letter: another program
    # Options in between
    ("git -C x push", ASK, DENY),
    ("git -C x status", ASK, ALLOW),
    ("git --no-pager push", ASK, DENY),
    ("git --git-dir=x --work-tree y push", ASK, DENY),
    ("git -c a.b=c push", ASK, DENY),
    ("git -c alias.status=!sh status", ASK, ASK),
    ("git -c alias.p=push p", ASK, ASK),
    ("git --config-env=alias.p=X p", ASK, ASK),
    ("git log --grep push", ASK, ALLOW),
    ("git commit -m push", ASK, ALLOW),
    # Wrappers
    ("command git push", ASK, DENY),
    ("command git status", ALLOW, ALLOW),
    ("builtin command git push", ASK, DENY),
    ("exec git push", ASK, DENY),
    ("nohup git push", ASK, DENY),
    ("nice -n 5 git push", ASK, DENY),
    ("nice -n5 git status", ALLOW, ALLOW),
    ("timeout 5 git push", ASK, DENY),
    ("timeout -k 1 --signal=KILL 5 git status", ALLOW, ALLOW),
    ("timeout --strange 5 git push", ASK, DENY),
    ("timeout $X git status", ASK, ASK),
    ("./timeout 5 git status", ASK, ALLOW),
    ("env git push", ASK, DENY),
    ("env git status", ALLOW, ALLOW),
    ("env -i git push", ASK, DENY),
    ("env -S 'git push'", ASK, DENY),
    ("sudo git push", ASK, DENY),
    ("sudo -u root git push", ASK, DENY),
    ("sudo git status", ASK, ALLOW),
    ("bash -c 'git push'", ASK, DENY),
    ("bash -lc 'git status'", ALLOW, ALLOW),
    ("sh -c 'git status; git push'", ASK, DENY),
    ("bash -c 'bash -c \"git push\"'", ASK, DENY),
    ("bash -c $X", ASK, ASK),
    ("bash -c 'git status' --rcfile x", ALLOW, ALLOW),
    ("bash --rcfile x -ic 'git push'", ASK, DENY),
    ("bash script.sh", ASK, ASK),
    ("zsh -c 'git push'", ASK, DENY),
    ("./bash -c 'git status'", ASK, ALLOW),
    ("eval git push", ASK, DENY),
    ("eval 'git status' '; git push'", ASK, DENY),
    ("eval $X", ASK, ASK),
    ("echo push | xargs git", ASK, ASK),
    ("xargs -n 1 git push", ASK, DENY),
    ("xargs git status", ALLOW, ALLOW),
    ("xargs -I{} sh -c 'git status {}'", ASK, ASK),
    ("xargs -I X X push", ASK, ASK),
    ("find . -exec git push \\;", ASK, DENY),
    ("find . -name x -execdir git push {} +", ASK, DENY),
    ("ssh host git push", ASK, DENY),
    ("ssh host 'cd x && git push'", ASK, DENY),
    ("trap 'git push' EXIT", ASK, DENY),
    ("parallel git push ::: a", ASK, DENY),
    # Scripts that are in none of the words
    ("echo 'git push' | sh", ASK, ASK),
    ("bash <<EOF\ngit push\nEOF", ASK, ASK),
    ("bash <<< 'git push'", ASK, ASK),
    ("bash -s", ASK, ASK),
    (". ./x", ASK, ASK),
    ("source x", ASK, ASK),
    ("builtin source x", ASK, ASK),
    ("timeout 5 sudo sh x", ASK, ASK),
    ("sudo -s", ASK, ASK),
    ("sudo apt-get install x", ASK, ALLOW),
    ("ssh host", ASK, ASK),
    ("ssh host ls", ASK, ALLOW),
    ("su -c 'ls' user", ASK, ALLOW),
    ("su -c'git push' user", ASK, DENY),
    ("busybox sh x", ASK, ASK),
    ("xargs -a words git", ASK, ASK),
    ("env -S 'git\\_push'", ASK, ASK),
    ("bash -c -e 'git push'", ASK, DENY),
    ("bash -euo pipefail -c 'git push'", ASK, DENY),
    ("bash -euo pipefail -c 'git status'", ALLOW, ALLOW),
    ("bash -o posix x.sh", ASK, ASK),
    ("trap 'git \"push\"' EXIT", ASK, DENY),
    ("mapfile -C 'git push' -c 1", ASK, DENY),
    ("compgen -W '$(git push)'", ASK, DENY),
    ("hyperfine 'git push'", ASK, DENY),
    ("uv run git push", ASK, DENY),
    ("uv run pytest", ASK, ALLOW),
    # What a command finds around it
    ("PATH=/evil git status", ASK, ALLOW),
    ("PATH=/evil; git status", ASK, ALLOW),
    ("LD_PRELOAD=x.so git status", ASK, ASK),
    ("GIT_PAGER=evil git status", ASK, ALLOW),
    ("env PATH=/evil git status", ASK, ALLOW),
    ("export PATH=/evil; git status", ASK, ALLOW),
    ("alias git=evil; git status", ASK, ASK),
    ("hash -p /evil git; git status", ASK, ASK),
    ("printf -v PATH /evil; git status", ASK, ALLOW),
    ("X=1 git push", ASK, DENY),
    ("x[$(git push)]=1", ASK, DENY),
    # Redirections
    ("git status > out", ASK, ALLOW),
    ("git status >> out", ASK, ALLOW),
    ("git status &> out", ASK, ALLOW),
    ("git status >| out", ASK, ALLOW),
    ("> out git status", ASK, ALLOW),
    ("git status > /dev/null 2>&1", ALLOW, ALLOW),
    ("git status < in", ALLOW, ALLOW),
    ("git status 1<>out", ASK, ASK),
    ("git status < /dev/tcp/host/80", ASK, ALLOW),
    ("git status < /dev/udp/host/53", ASK, ALLOW),
    ("git status < $X", ASK, ALLOW),
    ("git > out push", ASK, ASK),
    ("git status >& '$(git push)'", ASK, ASK),
    ("git status >&out", ASK, ALLOW),
    ("git status > $X", ASK, ALLOW),
    ("git status > /dev/tcp/host/80", ASK, ALLOW),
    # Comments, and what is no command
    ("git status # git push", ALLOW, ALLOW),
    ("git status #\ngit push", ASK, DENY),
    ("git status \\# ; git push", ASK, DENY),
    ("git status#; git push", ASK, DENY),
    ("[[ 'a[$(git push)]' -eq 1 ]] && git status", ASK, ASK),
    ("(( x = 1 )); git status", ASK, ALLOW),
    ("git status; then", ASK, ASK),
    ("git status )", ASK, ASK),
    ("git status 'x", ASK, ASK),
    ("git status <<A <<B\nA\ngit push\nB", ASK, ASK),
]


@pytest.mark.parametrize(("command", "allowing", "denying"), ROWS)
def test_an_allowing_rule_is_never_widened_and_a_denying_one_is_not_walked_round(
    command: str, allowing: Judgement, denying: Judgement
) -> None:
    assert judged(command, "allow Bash(git status:*)", policy=Policy.CAREFUL).judgement is allowing
    assert judged(command, "deny Bash(git push:*)", policy=Policy.FREE).judgement is denying
    strict = judged(command, "allow Bash(git status:*)", policy=Policy.READ_ONLY).judgement
    assert strict is (ALLOW if allowing is ALLOW else DENY)


@given(st.text(st.sampled_from("git status push;&|()<>$`'\"\\{}#\n\t ~*?=x1-!"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_around_an_allowed_command_is_allowed_with_a_character_that_runs_another(text: str) -> None:
    command = f"git status{text}"
    found = judged(command, "allow Bash(git status:*)", policy=Policy.CAREFUL)
    if found.judgement is ALLOW:
        script = read(command)
        assert script.problem is None
        assert all(part.words[:2] == ("git", "status") and part.assigned == 0 for part in script.parts)
        assert not any(touch.write for touch in script.touches)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_apart_or_said_to_be_none(text: str) -> None:
    script = read(text)
    assert script.problem is not None or script.text == text


@pytest.mark.parametrize(
    ("command", "rules", "policy", "tier", "expected"),
    [
        ("ls", (), Policy.BALANCED, Tier.BUBBLEWRAP, ALLOW),
        ("ls", (), Policy.BALANCED, Tier.LANDLOCK, ASK),
        ("ls", (), Policy.BALANCED, Tier.NONE, ASK),
        ("ls", (), Policy.FREE, Tier.NONE, ASK),
        ("ls (", (), Policy.BALANCED, Tier.BUBBLEWRAP, ASK),
        ("ls (", ("allow Bash",), Policy.BALANCED, Tier.BUBBLEWRAP, ALLOW),
        ("ls (", (), Policy.READ_ONLY, Tier.BUBBLEWRAP, DENY),
        ("ls (", ("allow Bash",), Policy.BALANCED, Tier.NONE, ASK),
        ("ls", ("allow Bash",), Policy.CAREFUL, Tier.LANDLOCK, ALLOW),
        ("ls", ("allow Bash",), Policy.CAREFUL, Tier.NONE, ASK),
        ("ls > out", ("allow Bash(ls:*)", "allow Bash"), Policy.FREE, Tier.NONE, ASK),
        ("ls", ("allow Bash(ls:*)", "allow Bash"), Policy.CAREFUL, Tier.NONE, ALLOW),
        ("ls", ("deny Bash",), Policy.FREE, Tier.BUBBLEWRAP, DENY),
        ("npm test", ("ask Bash(npm:*)",), Policy.FREE, Tier.BUBBLEWRAP, ASK),
        ("cat < .env", ("deny Read(.env)",), Policy.FREE, Tier.BUBBLEWRAP, DENY),
        ("ls > keys/id", ("deny Write(keys/**)",), Policy.FREE, Tier.BUBBLEWRAP, DENY),
        ("ls > $X", ("deny Write(keys/**)",), Policy.FREE, Tier.BUBBLEWRAP, ASK),
        ("cd keys && ls > id", ("deny Write(keys/**)",), Policy.FREE, Tier.BUBBLEWRAP, ASK),
        ("ls > out", ("allow Bash(ls:*)", "allow Write(out)"), Policy.CAREFUL, Tier.BUBBLEWRAP, ALLOW),
        ("ls > out", ("allow Bash(ls:*)", "allow Write(out)"), Policy.CAREFUL, Tier.NONE, ASK),
        ("ls > /dev/tcp/h/1", ("allow Bash(ls:*)", "allow Write(**)"), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("cd x; > o", ("allow Bash(cd:*)", "allow Write(o)"), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("cd .; > o", ("allow Bash(cd:*)", "allow Write"), Policy.CAREFUL, Tier.BUBBLEWRAP, ALLOW),
        ("cd x; ./run", ("allow Bash(cd:*)", "allow Bash(./run:*)"), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("read PATH; ls", ("allow Bash(read:*)", "allow Bash(ls:*)"), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("CI=1 npm test", ("allow Bash(CI=1 npm test)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ALLOW),
        ("CI=2 npm test", ("allow Bash(CI=1 npm test)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("npm test", ("allow Bash(npm test *)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ALLOW),
        ("npm test -- -w", ("allow Bash(npm test)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
        ("npm --prefix x publish", ("deny Bash(npm publish:*)",), Policy.FREE, Tier.BUBBLEWRAP, ASK),
        ("sudo ls", ("allow Bash(sudo:*)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ALLOW),
        ("find . -exec rm {} ';'", ("allow Bash(find:*)",), Policy.CAREFUL, Tier.BUBBLEWRAP, ASK),
    ],
)  # fmt: skip
def test_parts_redirections_and_tiers(
    command: str, rules: tuple[str, ...], policy: Policy, tier: Tier, expected: Judgement
) -> None:
    found = judged(command, *rules, policy=policy, tier=tier)
    assert found.judgement is expected, found.rule


def test_a_project_that_needs_nobody_is_free_without_a_sandbox_too() -> None:
    use, rules = Use("Bash", Effect.EXECUTE, command="ls"), parse_all(["allow Bash"])
    free = Grants(("Bash",), Policy.CAREFUL, Tier.NONE, rules, unconfined=True)
    assert judge(use, free, read("ls")).judgement is ALLOW


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("npm test -- --watch", ("allow Bash(npm test:*)",)),
        ("npm run build --silent", ("allow Bash(npm run build:*)",)),
        ("git status && pytest -q", ("allow Bash(git status:*)", "allow Bash(pytest:*)")),
        ("git -C x push", ("allow Bash(git -C x push)",)),
        ("python -c 'print(1)'", ("allow Bash(python -c 'print(1)')",)),
        ("bash run.sh", ("allow Bash(bash run.sh)",)),
        ("bash -c 'npm test'", ("allow Bash(npm test:*)",)),
        ("sudo ls", ("allow Bash(sudo ls)",)),
        ("rm -rf build", ("allow Bash(rm -rf build)",)),
        ("CI=1 npm test", ("allow Bash(CI=1 npm test)",)),
        ("npm test > out.txt", ("allow Bash(npm test:*)", "allow Write(out.txt)")),
        ("test -f x", ("allow Bash(test -f x)",)),
        ("rg --pre x y", ("allow Bash(rg --pre x y)",)),
        ("tree -o x", ("allow Bash(tree -o x)",)),
        ("uniq a b", ("allow Bash(uniq a b)",)),
        ("git push origin", ("allow Bash(git push origin)",)),
        ("git diff --stat", ("allow Bash(git diff --stat)",)),
        ("git log -3", ("allow Bash(git log -3)",)),
        ("npm install x", ("allow Bash(npm install x)",)),
        ("test -v 'a[x]'", ()),
        ("cat <<EOF\n`x`\nEOF", ()),
        ("cat < in", ("allow Bash(cat:*)",)),
        ("cat < $X", ()),
        ("cat < /dev/tcp/host/80", ()),
        ("rm $X", ()),
        ("$X", ()),
        ("python -c 'a\nb'", ()),
        ("npm test; x=1", ()),
        ("npm test (", ()),
    ],
)
def test_always_offers_narrow_rules_for_each_part_or_none(command: str, expected: tuple[str, ...]) -> None:
    use = Use("Bash", Effect.EXECUTE, command=command)
    assert offered(use, read(command), Tier.BUBBLEWRAP) == expected
    if expected:
        assert judged(command, *expected, policy=Policy.CAREFUL).judgement is ALLOW


@pytest.mark.parametrize(
    ("command", "expected", "others"),
    [
        (
            "cat notes.txt | head -1",
            ("allow Bash(cat notes.txt)", "allow Bash(head -1)"),
            ("cat /etc/shadow | head -1", "cat notes.txt /etc/shadow", "head -1 /etc/shadow", "head -1 < /etc/shadow"),
        ),
        ("npm test", ("allow Bash(npm test)",), ("npm test --prefix /elsewhere",)),
        ("cat < in", (), ()),
    ],
)
def test_without_a_sandbox_always_offers_the_exact_command(
    command: str, expected: tuple[str, ...], others: tuple[str, ...]
) -> None:
    use = Use("Bash", Effect.EXECUTE, command=command)
    assert offered(use, read(command), Tier.NONE) == expected
    allowed = judged(command, *expected, policy=Policy.CAREFUL, tier=Tier.NONE).judgement
    assert allowed is (ALLOW if expected else ASK)
    for other in others:
        assert judged(other, *expected, policy=Policy.CAREFUL, tier=Tier.NONE).judgement is ASK, other


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat secrets/key.txt", DENY),
        ("cat ./src/../secrets/key.txt", DENY),
        ("cat s''ecrets/key.txt", DENY),
        ("ln secrets/key.txt z; cat z", DENY),
        ("cat .env sub/.env", DENY),
        ("python tool.py --file=sub/.env", DENY),
        ("grep -r . secrets", ASK),
        ("cd secrets && cat key.txt", ASK),
        ("cat $PWD/secrets/key.txt", ASK),
        ("cat secrets/*", ASK),
        ("cat /somewhere/secrets/key.txt", ASK),
        ("echo x | tee migrations/b.sql", ASK),
        ("sed -i s/a/b/ migrations/a.sql", ASK),
        ("dd of=migrations/x", ASK),
        ("cat environment.md", ALLOW),
        ("python -m pytest tests", ALLOW),
        ("git status", ALLOW),
        ("ls $HOME", ALLOW),
    ],
)
def test_a_command_that_names_what_a_rule_about_files_keeps_back_is_denied_or_asked_about(
    command: str, expected: Judgement
) -> None:
    rules = ("deny Read(secrets/**)", "deny Read(**/.env)", "deny Write(migrations/**)")
    assert judged(command, *rules, policy=Policy.BALANCED).judgement is expected
    assert judged(command, *(rule.replace("deny", "allow") for rule in rules), policy=Policy.CAREFUL).judgement is ASK

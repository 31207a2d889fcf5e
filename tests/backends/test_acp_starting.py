"""What a program that speaks the Agent Client Protocol is started with: its home, its keys, its hosts."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpane.domain.acp_presets import CLAUDE, CODEX, GEMINI, PRESETS, is_model_variable
from agentpane.domain.agents import AgentConfig
from agentpane.domain.sandbox import EVERYWHERE, Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.acp.launching import bring_sign_in, installation, network_of, own_keys, program_of
from agentpane.orchestrator.backends.base import Brief, Endpoint
from tests.backends.acp_play import steps
from tests.backends.backend_rigs import AcpRig
from tests.backends.conformance import Place
from tests.backends.playing import follow


async def test_it_sees_its_own_home_and_neither_keys_nor_the_variable_that_upsets_adapters(
    rig: AcpRig, place: Place
) -> None:
    endpoint = Endpoint(None, "secret-key", environment={"OPENAI_API_KEY": "other-key"})
    more = rig.scenario(steps())
    brief = place.brief(more, endpoint=endpoint)
    context = replace(brief.context, environment={**brief.context.environment, "IS_SANDBOX": "yes"})
    await follow(AcpBackend(), replace(brief, context=context))
    environment = rig.heard("new")[0]["environment"]
    assert environment["HOME"] == str(place.state / "home")
    assert "IS_SANDBOX" not in environment
    assert "secret-key" not in json.dumps(environment)
    assert "other-key" not in json.dumps(environment)


def with_endpoint(place: Place, endpoint: Endpoint, network: Network | None = None) -> Brief:
    brief = place.brief({}, endpoint=endpoint)
    return replace(brief, context=replace(brief.context, network=network)) if network else brief


def test_a_program_gets_its_own_keys_and_no_other(place: Place) -> None:
    keys = {"OPENAI_API_KEY": "openai", "GEMINI_API_KEY": "gemini"}
    brief = with_endpoint(place, Endpoint("https://proxy.example", "anthropic", environment=keys))
    claude = own_keys(CLAUDE, brief)
    assert claude == {"ANTHROPIC_API_KEY": "anthropic", "ANTHROPIC_BASE_URL": "https://proxy.example"}
    assert own_keys(CODEX, brief) == {"OPENAI_API_KEY": "openai"}
    assert own_keys(None, brief) == {}


def test_a_program_reaches_its_models_hosts_and_what_the_project_allows(place: Place) -> None:
    plain = with_endpoint(place, Endpoint(None))
    assert network_of(CLAUDE, plain) == Network(NetworkMode.HOSTS, ("api.anthropic.com",))
    assert network_of(None, plain) == Network()
    local = with_endpoint(place, Endpoint("http://127.0.0.1:8123/v1"))
    assert network_of(CLAUDE, local) == Network(NetworkMode.HOSTS, ("127.0.0.1:8123",))
    more = with_endpoint(place, Endpoint(None), Network(NetworkMode.HOSTS, ("docs.example.org",)))
    assert network_of(CLAUDE, more).hosts == ("api.anthropic.com", "docs.example.org")
    assert network_of(CLAUDE, with_endpoint(place, Endpoint(None), EVERYWHERE)) == EVERYWHERE


def test_the_sign_in_state_is_copied_and_nothing_that_the_program_planted_is_followed(tmp_path: Path) -> None:
    person, home, elsewhere = tmp_path / "person", tmp_path / "home", tmp_path / "elsewhere"
    for folder in (person / ".codex", home, elsewhere):
        folder.mkdir(parents=True)
    (person / ".codex" / "auth.json").write_text("first")
    (person / ".codex" / "config.toml").write_text('approval_policy = "never"')
    bring_sign_in(CODEX, person, home)
    assert [(path.name, path.read_text()) for path in (home / ".codex").iterdir()] == [("auth.json", "first")]
    (home / ".codex" / "auth.json").write_text("refreshed by the program")
    bring_sign_in(CODEX, person, home)
    assert (home / ".codex" / "auth.json").read_text() == "refreshed by the program"
    later = (home / ".codex" / "auth.json").stat().st_mtime_ns + 10**9
    (person / ".codex" / "auth.json").write_text("second")
    os.utime(person / ".codex" / "auth.json", ns=(later, later))
    bring_sign_in(CODEX, person, home)
    assert (home / ".codex" / "auth.json").read_text() == "second"
    (home / ".codex" / "auth.json").unlink()
    (home / ".codex").rmdir()
    (home / ".codex").symlink_to(elsewhere)
    bring_sign_in(CODEX, person, home)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ('{"security": {"auth": {"selectedType": "oauth-personal", "more": 1}, "disableYoloMode": false},'
         ' "mcpServers": {"x": {"env": {"TOKEN": "secret"}}}, "tools": {"allowed": ["run_shell_command"]}}',
         {"security": {"auth": {"selectedType": "oauth-personal"}}}),
        ('{"selectedAuthType": "gemini-api-key", "security": []}', {"selectedAuthType": "gemini-api-key"}),
        ('{"selectedAuthType": {"mcpServers": {}}}', {}),
        ("[" * 100_000, None),
    ],
)  # fmt: skip
def test_of_settings_only_how_it_is_signed_in_is_copied(
    tmp_path: Path, settings: str, kept: dict[str, Any] | None
) -> None:
    person, home = tmp_path / "person", tmp_path / "home"
    (person / ".gemini").mkdir(parents=True)
    home.mkdir()
    (person / ".gemini" / "settings.json").write_text(settings)
    (person / ".gemini" / "oauth_creds.json").write_text("a token")
    bring_sign_in(GEMINI, person, home)
    copied = home / ".gemini" / "settings.json"
    assert (json.loads(copied.read_text()) if copied.exists() else None) == kept
    assert (home / ".gemini" / "oauth_creds.json").read_text() == "a token"


@pytest.mark.parametrize(
    "config",
    [
        AgentConfig(),
        AgentConfig(preset="nobody"),
        AgentConfig(preset="codex"),
        AgentConfig(command="no-such-program-here --acp"),
    ],
)
def test_a_program_that_is_not_there_is_said_to_be_missing(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentPaneError) as caught:
        program_of(config)
    assert caught.value.code is ErrorCode.AGENT_BACKEND_MISSING
    assert caught.value.hint


def test_each_preset_is_started_as_its_program_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for preset in PRESETS.values():
        program = tmp_path / preset.program
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        found = program_of(AgentConfig(preset=preset.name))
        assert found.script.split()[:2] == ["exec", str(program)]
        assert found.path == program
        assert all(is_model_variable(name) for name in preset.keys)
    assert program_of(AgentConfig(preset="gemini")).script.endswith(" --acp --approval-mode default")
    assert program_of(AgentConfig(preset="opencode")).script.endswith(" acp")


def test_a_program_of_a_package_manager_is_seen_with_all_its_packages(tmp_path: Path) -> None:
    packages = tmp_path / "node_modules"
    real = packages / "@scope" / "agent" / "dist" / "index.js"
    real.parent.mkdir(parents=True)
    real.write_text("")
    (packages / ".bin").mkdir()
    (packages / ".bin" / "agent").symlink_to(real)
    assert packages in installation(packages / ".bin" / "agent")

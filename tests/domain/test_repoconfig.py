"""What a repository says about itself, and what of it waits for trust."""

from __future__ import annotations

import pytest

from agentpane.domain.projects import ProjectConfig
from agentpane.domain.repoconfig import merged, parse
from agentpane.errors import AgentPaneError, ErrorCode

CONTENT = b"""
env_file = ".env"
install = "make deps"
init_script = "make ready"
copy_files = ["local.toml"]
later = true
"""


def test_what_runs_a_command_or_hands_out_a_file_waits_for_trust() -> None:
    config = parse(CONTENT)
    assert config.needs_trust() == (
        "install: make deps",
        "init_script: make ready",
        "env_file: .env",
        "copy_files: local.toml",
    )
    assert merged(ProjectConfig(), config, trusted=False) == ProjectConfig()
    trusted = merged(ProjectConfig(), config, trusted=True)
    assert (trusted.install_command, trusted.env_file, trusted.copy_files) == ("make deps", ".env", ("local.toml",))


def test_the_projects_own_configuration_wins() -> None:
    own = ProjectConfig(install_command="npm ci")
    assert merged(own, parse(CONTENT), trusted=True).install_command == "npm ci"


def test_another_content_has_another_digest() -> None:
    assert parse(CONTENT).digest != parse(CONTENT + b"\n").digest


@pytest.mark.parametrize("content", [b"install = 3", b"copy_files = 'x'", b"copy_files = [1]", b"=", b"\xff"])
def test_a_file_that_cannot_be_read_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(AgentPaneError) as caught:
        parse(content)
    assert caught.value.code is ErrorCode.PROJECT_CONFIG_INVALID

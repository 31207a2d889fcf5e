"""Where the key is kept, and which address it is given to."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import pytest

from agentpane.domain.engine import KeySource
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents.keys import FROM_FILE, FROM_KEYRING, KeyChain

OTHER_SERVER = "https://gateway.example.invalid"


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring that works and keeps nothing on the disk."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def memory() -> Iterator[MemoryKeyring]:
    before, chosen = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(chosen)
    yield chosen
    keyring.set_keyring(before)


async def test_a_key_goes_to_the_keyring_and_can_be_forgotten(tmp_path: Path, memory: MemoryKeyring) -> None:
    keys = KeyChain(tmp_path)
    assert (await keys.store("sk-secret")).source is KeySource.KEYRING
    assert list(tmp_path.iterdir()) == []
    assert (await keys.endpoint({}, "")).api_key == "sk-secret"
    assert (await keys.store("")).source is KeySource.NONE
    assert memory.kept == {}


async def test_without_a_keyring_the_key_goes_to_a_private_file_with_a_warning(tmp_path: Path) -> None:
    keys = KeyChain(tmp_path)
    status = await keys.store("sk-secret")
    assert status.source is KeySource.FILE and status.warning
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await keys.status({})).source is KeySource.FILE
    kept = await keys.endpoint({}, "")
    assert (kept.api_key, kept.source) == ("sk-secret", FROM_FILE)
    file.chmod(0o644)
    assert (await keys.status({})).source is KeySource.NONE


async def test_the_keyring_comes_before_the_environment(tmp_path: Path, memory: MemoryKeyring) -> None:
    keys = KeyChain(tmp_path)
    own = {"ANTHROPIC_API_KEY": "from-environment"}
    assert (await keys.status(own)).source is KeySource.ENVIRONMENT
    await keys.store("stored")
    kept = await keys.endpoint(own, "")
    assert (kept.api_key, kept.source) == ("stored", FROM_KEYRING)
    assert (await keys.status(own)).source is KeySource.KEYRING


async def test_an_address_from_the_environment_never_gets_the_stored_key(tmp_path: Path, memory: MemoryKeyring) -> None:
    keys = KeyChain(tmp_path)
    await keys.store("stored")
    with pytest.raises(AgentPaneError) as caught:
        await keys.endpoint({"ANTHROPIC_BASE_URL": OTHER_SERVER}, "")
    assert caught.value.code is ErrorCode.BACKEND_AUTH
    given = await keys.endpoint({"ANTHROPIC_BASE_URL": OTHER_SERVER, "ANTHROPIC_AUTH_TOKEN": "t"}, "")
    assert (given.base_url, given.api_key, given.auth_token) == (OTHER_SERVER, None, "t")


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434", "http://localhost:8080", "http://[::1]:1"])
async def test_a_server_on_this_machine_needs_no_key(tmp_path: Path, url: str) -> None:
    keys = KeyChain(tmp_path)
    assert (await keys.endpoint({"ANTHROPIC_BASE_URL": url}, "")).base_url == url
    assert (await keys.endpoint({}, url)).base_url == url


async def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await KeyChain(tmp_path).endpoint({}, "")
    assert caught.value.code is ErrorCode.BACKEND_AUTH
    assert "ANTHROPIC_API_KEY" in caught.value.hint


async def test_a_key_is_in_no_representation(tmp_path: Path) -> None:
    keys = KeyChain(tmp_path)
    await keys.store("sk-secret")
    assert "sk-secret" not in repr(await keys.endpoint({}, ""))

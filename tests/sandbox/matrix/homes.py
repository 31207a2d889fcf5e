"""What lies in the home folder of a scene: the places in which programs keep keys, and the engine's own data."""

from __future__ import annotations

KEY_FILES = (
    ".ssh/id_ed25519",
    ".ssh/config",
    ".aws/credentials",
    ".netrc",
    ".gitconfig",
    ".git-credentials",
    ".config/gh/hosts.yml",
    ".config/gcloud/application_default_credentials.json",
    ".docker/config.json",
    ".kube/config",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".gnupg/private-keys-v1.d/key.key",
    ".local/share/keyrings/login.keyring",
    ".password-store/mail.gpg",
    ".bash_history",
    ".bashrc",
    ".config/google-chrome/Default/Cookies",
    ".mozilla/firefox/x.default/logins.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".config/agentpane/agents/mine.md",
    "Documents/letter.txt",
)
DATA_FILES = (
    "agentpane/agentpane.db",
    "agentpane/agentpane.db-wal",
    "agentpane/anthropic-api-key",
    "agentpane/engine.json",
    "agentpane/engine.lock",
    "agentpane/logs/engine.log",
    "agentpane/blobs/ab/blob",
    "agentpane/backups/agentpane.db.1",
)
HOME_FILES = (*KEY_FILES, *DATA_FILES)

"""Programs known to speak the Agent Client Protocol: how each is started, and what it needs to reach its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AcpPreset:
    """One known program.

    program: its name on PATH. environment: what makes it ask before it acts, and keeps it from reaching elsewhere.
    keys: names of the variables that hold its own keys, the first that is set is enough; base_url: the variable that
        says where its model is, if it knows one.
    hosts: what it must reach to think. sign_in: files below the home folder that hold its sign-in state and nothing
        else. sign_in_settings: JSON files of settings by what of them says how it is signed in, each as the names that
        lead to it; the rest may start tool servers, hold their secrets, and let it act unasked.
    plan_modes: names of the session modes in which it proposes and changes nothing. asking_modes: of those in which it
        asks before it writes or runs anything.
    install, sign_in_hint: what a person does about a program that is missing or not signed in.
    """

    name: str
    title: str
    program: str
    arguments: tuple[str, ...]
    keys: tuple[str, ...]
    hosts: tuple[str, ...]
    sign_in: tuple[str, ...]
    install: str
    sign_in_hint: str
    base_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    sign_in_settings: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    plan_modes: tuple[str, ...] = ("plan",)
    asking_modes: tuple[str, ...] = ()


CLAUDE = AcpPreset(
    name="claude",
    title="Claude Code",
    program="claude-agent-acp",
    arguments=(),
    keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    base_url="ANTHROPIC_BASE_URL",
    hosts=("api.anthropic.com",),
    sign_in=(".claude/.credentials.json",),
    environment={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    },
    asking_modes=("default",),
    install="npm install -g @agentclientprotocol/claude-agent-acp",
    sign_in_hint="Store a key in the settings, or set ANTHROPIC_API_KEY where you start the command.",
)
CODEX = AcpPreset(
    name="codex",
    title="Codex",
    program="codex-acp",
    arguments=(),
    keys=("CODEX_API_KEY", "OPENAI_API_KEY"),
    hosts=("api.openai.com", "chatgpt.com", "auth.openai.com"),
    sign_in=(".codex/auth.json",),
    environment={"INITIAL_AGENT_MODE": "read-only", "NO_BROWSER": "1"},
    plan_modes=("read-only",),
    asking_modes=("read-only",),
    install="npm install -g @agentclientprotocol/codex-acp",
    sign_in_hint="Run `codex login`, or set OPENAI_API_KEY where you start the command.",
)
GEMINI = AcpPreset(
    name="gemini",
    title="Gemini CLI",
    program="gemini",
    arguments=("--acp", "--approval-mode", "default"),
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    hosts=(
        "generativelanguage.googleapis.com",
        "cloudcode-pa.googleapis.com",
        "oauth2.googleapis.com",
        "accounts.google.com",
    ),
    sign_in=(".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
    sign_in_settings={".gemini/settings.json": (("security", "auth", "selectedType"), ("selectedAuthType",))},
    environment={"NO_BROWSER": "true", "GEMINI_SANDBOX": "false"},
    asking_modes=("default",),
    install="npm install -g @google/gemini-cli",
    sign_in_hint="Run `gemini` once and sign in, or set GEMINI_API_KEY where you start the command.",
)
OPENCODE = AcpPreset(
    name="opencode",
    title="OpenCode",
    program="opencode",
    arguments=("acp",),
    keys=("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_API_KEY"),
    hosts=(
        "api.anthropic.com",
        "api.openai.com",
        "generativelanguage.googleapis.com",
        "openrouter.ai",
        "opencode.ai",
        "models.dev",
    ),
    sign_in=(".local/share/opencode/auth.json",),
    environment={
        "OPENCODE_PERMISSION": '{"edit":"ask","bash":"ask","webfetch":"ask"}',
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
        "OPENCODE_DISABLE_SHARE": "1",
    },
    install="npm install -g opencode-ai",
    sign_in_hint="Run `opencode auth login`, or set your provider's key where you start the command.",
)

KEY_PREFIX = "ANTHROPIC_"
PRESETS: Mapping[str, AcpPreset] = {preset.name: preset for preset in (CLAUDE, CODEX, GEMINI, OPENCODE)}
_KEYS = frozenset(name for preset in PRESETS.values() for name in preset.keys)


def is_model_variable(name: str) -> bool:
    """Whether a variable of a person's environment says where a model is, or is the key to one."""
    return name.startswith(KEY_PREFIX) or name in _KEYS

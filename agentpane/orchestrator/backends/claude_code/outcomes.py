"""How the program's work ended: with an answer, or with a fault in the words of our own catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpane.domain.runs import PauseReason
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Ended, Retrying, RunPaused

Message = Mapping[str, Any]

AGAIN = "Resume the run to go on where it stopped. Nothing was lost."
NO_CONVERSATION = "No conversation found"

# The program's own words for what went wrong with a request, and the HTTP status where it tells none.
CODES: Mapping[str, ErrorCode] = {
    "authentication_failed": ErrorCode.BACKEND_AUTH,
    "oauth_org_not_allowed": ErrorCode.BACKEND_AUTH,
    "billing_error": ErrorCode.BACKEND_RATE_LIMITED,
    "rate_limit": ErrorCode.BACKEND_RATE_LIMITED,
    "model_not_found": ErrorCode.BACKEND_REFUSED,
    "invalid_request": ErrorCode.BACKEND_REFUSED,
    "overloaded": ErrorCode.BACKEND_UNAVAILABLE,
    "server_error": ErrorCode.BACKEND_UNAVAILABLE,
}
HINTS: Mapping[ErrorCode, str] = {
    ErrorCode.BACKEND_AUTH: (
        "Sign in with `claude`, or store another key in the settings, then resume. Nothing was lost."
    ),
    ErrorCode.BACKEND_RATE_LIMITED: "Wait until the limit is over, or use another account, then resume.",
    ErrorCode.BACKEND_REFUSED: "Check the agent's model and the address, then resume. Nothing was lost.",
    ErrorCode.BACKEND_CONTEXT_FULL: "Start the card afresh with a narrower task; the worktree keeps what was done.",
}


def code_of(error: object, status: object) -> ErrorCode:
    """Which of our codes a failed request has."""
    if isinstance(error, str) and error in CODES:
        return CODES[error]
    if status in (401, 403):
        return ErrorCode.BACKEND_AUTH
    if status == 429:
        return ErrorCode.BACKEND_RATE_LIMITED
    if isinstance(status, int) and 400 <= status < 500:
        return ErrorCode.BACKEND_REFUSED
    return ErrorCode.BACKEND_UNAVAILABLE


def ended(result: Message, fault: object) -> Ended:
    """The last words of a run that is done. fault: the program's word for the last request that failed.

    Raises AgentPaneError or RunPaused for any other end, whatever its subtype calls it.
    """
    subtype, reason = result.get("subtype"), result.get("terminal_reason")
    words = _words(result)
    if subtype == "error_max_turns":
        error = AgentPaneError(
            ErrorCode.AGENT_TURN_LIMIT,
            f"Claude Code stopped at a limit of its own: {words}",
            "Continue with more turns, finish here with what is done, or stop.",
        )
        raise RunPaused(PauseReason.TURN_LIMIT, error)
    if subtype == "success" and result.get("is_error") is not True:
        if result.get("stop_reason") == "refusal":
            raise AgentPaneError(
                ErrorCode.BACKEND_REFUSED,
                f"The model refused to go on. {words}".strip(),
                "Word the task differently, or give it to another model. What was done so far is kept.",
            )
        return Ended(words)
    if subtype != "success":
        raise AgentPaneError(ErrorCode.AGENT_EXECUTION_ERROR, f"Claude Code could not go on: {words}", AGAIN)
    code = ErrorCode.BACKEND_CONTEXT_FULL
    if reason != "prompt_too_long":
        code = code_of(fault, result.get("api_error_status"))
    details = {"spend_limit": True} if fault == "billing_error" else None
    raise AgentPaneError(code, f"Claude Code could not go on: {words}", HINTS.get(code, AGAIN), details)


def retrying(turn: int, message: Message) -> Retrying:
    """The program tries a request again. Raises AgentPaneError for a key that will not be accepted later either."""
    status, word = message.get("error_status"), message.get("error")
    code = code_of(word, status)
    if code is ErrorCode.BACKEND_AUTH:
        raise AgentPaneError(code, f"The model's server does not accept the key (status {status}).", HINTS[code])
    reason = f"The model's server failed ({word}, status {status})." if status else "The connection failed."
    tries, of = _number(message.get("attempt")), _number(message.get("max_retries"))
    wait_s = _number(message.get("retry_delay_ms")) / 1000
    return Retrying(turn, int(tries) + 1, int(of) + 1, wait_s, code, reason)


def knows_no_conversation(result: Message) -> bool:
    return result.get("subtype") == "error_during_execution" and NO_CONVERSATION in _words(result)


def died(exit_code: int, errors: str, had_begun: bool) -> AgentPaneError:
    """The program ended without a result."""
    said = f" Its last words:\n{errors}" if errors else ""
    if not had_begun:
        return AgentPaneError(
            ErrorCode.BACKEND_UNAVAILABLE,
            f"Claude Code did not start (exit code {exit_code}).{said}",
            "See whether `claude` runs in a terminal, then resume. Nothing was lost.",
        )
    return AgentPaneError(
        ErrorCode.AGENT_EXECUTION_ERROR,
        f"Claude Code ended in the middle of its work (exit code {exit_code}).{said}",
        AGAIN,
    )


def silent(seconds: float) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_UNAVAILABLE, f"Claude Code has said nothing for {seconds:g} seconds and was ended.", AGAIN
    )


def too_old(version: object) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_PROTOCOL,
        f"This Claude Code (version {version or 'unknown'}) does not ask before each of its calls.",
        "Update it, then resume. Nothing was done.",
    )


def _words(result: Message) -> str:
    errors = result.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(str(error) for error in errors)
    told = result.get("result")
    return told if isinstance(told, str) else ""


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0

"""Everything that needs the anthropic SDK: the client, and its exceptions turned into faults.

Importing this module takes over a second, so that it is done in a thread, when the first run needs it.
The SDK's own retries are off, and nothing of it is read from this process's environment.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.types import RawMessageStreamEvent

from agentpane.errors import ErrorCode
from agentpane.orchestrator.backends.base import Endpoint
from agentpane.orchestrator.backends.messages_api.accumulator import MalformedStreamError
from agentpane.orchestrator.backends.messages_api.faults import Fault

DEFAULT_ADDRESS = "https://api.anthropic.com"
CONNECT_S = 20.0
WORDS_LIMIT = 500  # characters of the server's own words that a person is shown

# What the SDK and its transport raise on a bad wire; the built-in ones come from parsing what is not an event.
WIRE_ERRORS: tuple[type[Exception], ...] = (
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    MalformedStreamError,
    OSError,
    ValueError,
    AssertionError,
    AttributeError,
    TypeError,
    LookupError,
)

Stream = AsyncStream[RawMessageStreamEvent]


def make_client(endpoint: Endpoint) -> AsyncAnthropic:
    """A client for this endpoint, which has a key: without one the SDK would look for it in the environment.

    Raises AgentPaneError with BACKEND_UNAVAILABLE if the address is none.
    """
    address = (endpoint.base_url or DEFAULT_ADDRESS).strip().rstrip("/").removesuffix("/v1")
    # Never a redirect: it would carry the key to another host. A proxy has no business between us and this machine.
    http = httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
        limits=httpx2.Limits(max_connections=200, max_keepalive_connections=50),
        follow_redirects=False,
        trust_env=not is_loopback(address),
    )
    try:
        client = AsyncAnthropic(
            api_key=endpoint.api_key or None,
            auth_token=None if endpoint.api_key else endpoint.auth_token,
            base_url=address,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            http_client=http,
        )
    except httpx2.InvalidURL as error:
        raise fault_of(error, endpoint).error() from error
    # The SDK adds ANTHROPIC_CUSTOM_HEADERS of the engine's environment here; we only what other servers than
    # Anthropic's look for: the SDK sends a key as a bearer token, many gateways read it from x-api-key.
    named = endpoint.api_key if address != DEFAULT_ADDRESS else None
    client._custom_headers = {"X-Api-Key": named} if named else {}
    return client


def is_loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        host = urlsplit(address).hostname or ""
        if host == "localhost":
            return True
        return ipaddress.ip_address(host).is_loopback
    return False


def evidence(error: Exception, endpoint: Endpoint) -> Exception | None:
    """`error` as the cause of what is raised, unless its words would carry the key into a log."""
    secrets = [secret for secret in (endpoint.api_key, endpoint.auth_token) if secret]
    return None if any(secret in repr(error) + str(error) for secret in secrets) else error


def fault_of(error: Exception, endpoint: Endpoint) -> Fault:
    """What this exception of WIRE_ERRORS means. The key never appears in it, even where the server repeats it."""
    if isinstance(error, anthropic.APIStatusError):
        return _status_fault(error, endpoint)
    if isinstance(error, anthropic.APIConnectionError):
        cause = error.__cause__
        return _connection_fault(cause if isinstance(cause, Exception) else error, endpoint)
    if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL | httpx2.StreamError | OSError):
        return _connection_fault(error, endpoint)
    if isinstance(error, MalformedStreamError):
        reason = str(error)
    elif isinstance(error, anthropic.AnthropicError):
        reason = _clean(str(error), endpoint)
    else:
        reason = "the server sent something that is not an answer"
    return Fault(
        ErrorCode.BACKEND_PROTOCOL,
        f"The model's answer was not whole: {reason}.",
        f"Check that {_where(endpoint)} speaks the Messages API, then resume. Nothing of this turn was carried out.",
        passes=True,
    )


def _connection_fault(error: Exception, endpoint: Endpoint) -> Fault:
    where = _where(endpoint)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return Fault(ErrorCode.BACKEND_UNAVAILABLE, f"{where} is not an address of a model's server.", ADDRESS_HINT)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | ConnectionRefusedError):
        stubborn = is_loopback(endpoint.base_url or DEFAULT_ADDRESS)
        message = f"The model's server at {where} cannot be reached."
        return Fault(ErrorCode.BACKEND_UNAVAILABLE, message, ADDRESS_HINT, passes=True, stubborn=stubborn)
    message = f"The connection to the model's server at {where} was lost."
    return Fault(ErrorCode.BACKEND_UNAVAILABLE, message, RESUME_HINT, passes=True)


def silent(seconds: float, endpoint: Endpoint) -> Fault:
    """The server keeps the connection and says nothing."""
    message = f"The model's server at {_where(endpoint)} said nothing for {seconds:g} seconds."
    return Fault(ErrorCode.BACKEND_UNAVAILABLE, message, RESUME_HINT, passes=True)


ADDRESS_HINT = "Check the address (ANTHROPIC_BASE_URL) and the network, then resume. Nothing was lost."
RESUME_HINT = "Resume when it works again: the run goes on from its last whole turn."
SPEND_HINT = "Raise the limit with the provider, or wait until it is renewed, then resume. Nothing was lost."
CONTEXT_HINT = "Reject with a shorter brief or start the card afresh; the worktree keeps what was done."

_KINDS: Mapping[str, int] = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SPENT = ("credit balance is too low", "api usage limits", "spend limit", "spending limit")
_TOO_LONG = (
    "prompt is too long",
    "context window",
    "context length",
    "context_length",
    "exceeds the available context",
)


def _status_fault(error: anthropic.APIStatusError, endpoint: Endpoint) -> Fault:
    """By the kind of error where the server names one, for an error inside a stream has status 200; else by status."""
    status = error.status_code
    if status < 300:
        status = _KINDS.get(error.type or "", 400 if error.type else 500)
    words = _words(error, endpoint)
    lowered = words.lower()
    if status == 402 or (error.error_code or "").endswith("spend_limit_reached") or any(s in lowered for s in _SPENT):
        message = f"The spend limit of this account is reached: {words}"
        return Fault(ErrorCode.BACKEND_RATE_LIMITED, message, SPEND_HINT, details={"spend_limit": True})
    if status in {401, 403}:
        return _refused_key(words, endpoint)
    if status == 413 or (status == 400 and any(phrase in lowered for phrase in _TOO_LONG)):
        return Fault(
            ErrorCode.BACKEND_CONTEXT_FULL, f"The conversation is too long for the model: {words}", CONTEXT_HINT
        )
    if status in {408, 409, 429} or status >= 500:
        code = ErrorCode.BACKEND_RATE_LIMITED if status == 429 else ErrorCode.BACKEND_UNAVAILABLE
        message = f"The model's server is {'limiting the rate' if status == 429 else 'not able to answer'}: {words}"
        return Fault(code, message, RESUME_HINT, passes=True, retry_after=_retry_after(error.response.headers))
    if status in {400, 404}:
        hint = "Check the agent's model and the address, then resume. Nothing was lost."
        return Fault(ErrorCode.BACKEND_REFUSED, f"The model's server refused the request: {words}", hint)
    message = f"The model's server will not go on (status {status}): {words}"
    return Fault(ErrorCode.BACKEND_PROTOCOL, message, RESUME_HINT)


def _refused_key(words: str, endpoint: Endpoint) -> Fault:
    """The key is there and does not count; the hint names the place where another one has an effect."""
    named = endpoint.source.startswith("ANTHROPIC_")
    whose = f" from {endpoint.source}" if endpoint.source else ""
    another = f"Set another key in {endpoint.source}" if named else "Store another key in the settings"
    message = f"The model's server refused the key{whose}: {words}"
    return Fault(ErrorCode.BACKEND_AUTH, message, f"{another}, then resume. Nothing was lost.")


def _words(error: anthropic.APIStatusError, endpoint: Endpoint) -> str:
    """What the server said, in one line."""
    words = error.api_message
    if not isinstance(words, str) or not words.strip():
        body = error.body
        shown = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
        words = shown.strip() or error.response.reason_phrase
    return _clean(words, endpoint)


def _clean(words: str, endpoint: Endpoint) -> str:
    for secret in (endpoint.api_key, endpoint.auth_token):
        if secret:
            words = words.replace(secret, "[key]")
    line = " ".join(words.split())
    return line if len(line) <= WORDS_LIMIT else line[:WORDS_LIMIT] + "…"


def _where(endpoint: Endpoint) -> str:
    """The server's address without a password that may stand in it."""
    address = endpoint.base_url or DEFAULT_ADDRESS
    before, _, after = address.rpartition("@")
    return f"{before.partition('//')[0]}//{after}" if before else address


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date); None if there is nothing usable."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if seconds == seconds else None
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return None

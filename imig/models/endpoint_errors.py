"""What goes wrong between us and an endpoint, and what a person can do about it.

No message here carries the key, also where a server repeats it in its answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imig.errors import DataError, ImigError, UsageError
from imig.models.waiting import asked_seconds
from imig.recipe_parts import EndpointConfig

if TYPE_CHECKING:
    import openai

_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")
_MESSAGE_LENGTH = 300


class RequestRefused(DataError):
    """The server takes other requests, but not this one: its content, or its form."""


@dataclass(frozen=True)
class Failure:
    """A try that failed."""

    reason: str
    """For people, without the key."""
    final: ImigError | None = None
    """What to raise; None: the same request may succeed later."""
    wait: float | None = None
    """Seconds that the server asks for."""
    unreached: bool = False
    """No server answered at all."""


@dataclass(frozen=True)
class Explainer:
    """Turns exceptions of the client library into failures.

    Parameters
    ----------
    name:
        Of the endpoint in the recipe, for example ``source.writer.endpoint``.
    """

    config: EndpointConfig
    key: str | None = field(repr=False)
    name: str

    def explain(self, error: Exception) -> Failure:
        """What to do about what a try raised."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return Failure(f"no answer within {self.config.timeout_seconds:g} s")
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            # The library's words for a refused connection and an unknown host.
            unreached = type(cause).__name__ in ("ConnectError", "UnsupportedProtocol")
            return Failure(self.clean(str(cause) or type(cause).__name__), unreached=unreached)
        # No choices, or a body that is no JSON.
        return Failure(self.clean(f"no sense in the answer: {type(error).__name__}: {error}"))

    def unreachable(self, reason: str) -> UsageError:
        return UsageError(
            f"no server answers at {self.config.url}: {reason}",
            cure=f"start the server, or correct --set {self.name}.url=URL (the base URL, which "
            "usually ends in /v1)",
        )

    def not_a_chat_server(self, text: str) -> UsageError:
        return UsageError(
            f"what answers at {self.config.url} is no chat completions server: "
            f"{self.clean(text)[:80]!r}",
            cure=f"correct --set {self.name}.url=URL (the base URL, which usually ends in /v1)",
        )

    def gave_up(self, reason: str, *, tries: int) -> DataError:
        return DataError(
            f"{self.config.url}: {tries} tries failed, the last one with: {reason}",
            cure="finished work is kept: run the same command again when the server is well, or "
            f"raise {self.name}.max_retries or .timeout_seconds",
        )

    def unknown_model(self, message: str, there: list[str]) -> UsageError:
        names = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
        return UsageError(
            f"{self.config.url} has no model {self.config.model!r}: {message}",
            cure=f"--set {self.name}.model=NAME"
            + (f"; the server has: {names}" if there else f", as {self.config.url}/models lists"),
        )

    def clean(self, text: str) -> str:
        """In one line, short, and without the key."""
        if self.key:
            text = text.replace(self.key, "[key]")
        text = " ".join(text.split())
        return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."

    def _of_status(self, error: openai.APIStatusError) -> Failure:
        status, message = error.status_code, self.clean(_server_message(error))
        reason = f"HTTP {status}: {message}" if message else f"HTTP {status}"
        wait = asked_seconds(error.response.headers)
        if status == 402 or getattr(error, "code", None) in _QUOTA:
            cure = "add credit at the provider, then run the same command again; work is kept"
            return Failure(reason, UsageError(f"{self.config.url}: {reason}", cure=cure))
        if status in (401, 403):
            return Failure(reason, self._wrong_key(reason))
        if status == 404:
            unknown = UsageError(
                f"{self.config.url} does not know the request ({reason})",
                cure=f"correct --set {self.name}.url=URL (it usually ends in /v1) or .model=NAME",
            )
            return Failure(reason, unknown)
        if status in (408, 409, 425, 429) or status >= 500:
            return Failure(reason, wait=wait)
        return Failure(reason, RequestRefused(f"{self.config.url} refuses a request: {reason}"))

    def _wrong_key(self, reason: str) -> UsageError:
        variable = self.config.key_variable
        cure = (
            f"is the key in the environment variable {variable} right, and allowed to use "
            f"{self.config.model}?"
            if self.key
            else f"it wants a key: export {variable}=..., where the workers see it too"
        )
        return UsageError(f"{self.config.url} refuses access ({reason})", cure=cure)


def _server_message(error: openai.APIStatusError) -> str:
    """The server's own words; of an error page only that there is one."""
    body = error.body
    if isinstance(body, dict):
        return str(body.get("message") or body.get("detail") or body.get("error") or body)
    if isinstance(body, str) and not body.lstrip().startswith("<"):
        return body
    return ""


def says_unknown_model(error: Exception, model: str) -> bool:
    """Whether a refusal is about the name of the model."""
    text = str(getattr(error, "message", error)).lower()
    status, code = getattr(error, "status_code", None), getattr(error, "code", None)
    if code == "model_not_found" or (status == 404 and model.lower() in text):
        return True
    return (
        status == 400
        and re.search(r"(unknown|invalid|no such) model|model.* not (exist|found)", text)
        is not None
    )

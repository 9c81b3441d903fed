"""What goes wrong between us and an endpoint, and what a person can do about it.

No message here carries the key, also where a server repeats it in its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from imig.endpoint.key import hide_key
from imig.endpoint.place import (
    Proxy,
    base_url,
    likely_url,
    missing_certificates,
    proxy_for,
    tls_cure,
    unusable_proxy,
)
from imig.endpoint.waiting import asked_seconds
from imig.errors import DataError, ImigError, ServerDownError, UsageError
from imig.recipe.parts import EndpointConfig

if TYPE_CHECKING:
    import openai

_QUOTA: Final = ("insufficient_quota", "billing_hard_limit_reached")
_MESSAGE_LENGTH: Final = 300
_MESSAGE_KEYS: Final = (
    "message", "detail", "error", "errors", "error_description", "msg", "Message", "title",
    "reason",
)  # fmt: skip
"""Where servers put their words: OpenAI, FastAPI, Ollama and TGI, gateways, problem+json."""
_FORM: Final = re.compile(
    r"response_?format|json_?schema|json_?object|structured.?output|grammar|guided|"
    r"requested parameters",
    re.IGNORECASE,
)
_TEMPERATURE: Final = re.compile(r"\btemperature\b", re.IGNORECASE)
_TOKENS: Final = re.compile(
    r"max(?:imum)?[_ ](?:completion_|new_|output_)?tokens|maximum context|context (?:length|window|"
    r"size)|(?:completion|output) tokens",
    re.IGNORECASE,
)
_TOO_MANY: Final = re.compile(
    r"too (?:large|many|high|big)|at most|maximum|exceed|less than|context|must be|limit",
    re.IGNORECASE,
)
_OVERLOADED: Final = (503, 504, 529)
"""Statuses that say nothing about the request."""


class RequestRefused(DataError):
    """The server takes other requests, but not this one: its content, or its form.

    `parameter` is what it refuses, as far as it says so: ``temperature``, ``max_tokens`` (that
    name), ``tokens`` (so many of them), or ``content``.
    """

    parameter: str | None = None


class AnswerUnfinished(RequestRefused):
    """The model did not come to an answer within its tokens."""


class ServerFault(Exception):
    """An error that a server has put into a body with the status 200."""

    def __init__(self, body: Any) -> None:
        super().__init__(body_to_message(body))
        self.body = body


class Unanswered(Exception):
    """A request that got no answer which could be used; the message says why."""


class DeadlinePassed(Unanswered):
    """The answer was not there in time."""


class AnswerTooLarge(Unanswered):
    """It has no end, or none that is worth waiting for."""


class Redirected(Unanswered):
    """To another server, which was promised neither the key nor the pictures."""


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
    perhaps_form: bool = False
    """Servers answer so, too, when they break over a schema."""


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

        if isinstance(error, Redirected):
            return Failure(self.clean(str(error)), self._redirected(str(error)))
        if isinstance(error, Unanswered) and not isinstance(error, DeadlinePassed):
            return Failure(self._by_proxy(self.clean(str(error))))
        if isinstance(error, (openai.APITimeoutError, DeadlinePassed)):
            return Failure(
                self._by_proxy(f"no answer within {self.config.timeout_seconds:g} s"),
            )
        if isinstance(error, openai.APIStatusError):
            headers = error.response.headers
            return self._of_status(error.status_code, _body(error), headers, error.code)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            reason = self.clean(str(cause) or type(cause).__name__)
            if tls_cure(reason, base_url(self.config.url)):
                return Failure(reason, self.unreachable(reason))
            # The library's words for a refused connection, an unknown host, and a proxy's refusal.
            unreached = type(cause).__name__ in (
                "ConnectError",
                "UnsupportedProtocol",
                "ProxyError",
            )
            return Failure(self._by_proxy(reason), unreached=unreached)
        if isinstance(error, ServerFault):
            code = _find(error.body, "code")
            if isinstance(code, int) and 400 <= code < 600:
                return self._of_status(code, error.body, {}, None)
            return Failure(self.clean(f"an error as answer: {error}"), perhaps_form=True)
        # No choices, or a body that is no JSON.
        reason = self.clean(f"no sense in the answer: {type(error).__name__}: {error}")
        return Failure(reason, perhaps_form=True)

    def unreachable(self, reason: str) -> UsageError:
        proxy = self._proxy
        cure = tls_cure(reason, base_url(self.config.url)) or (
            f"start the server, or correct --set {self.name}.url=URL (the base URL, which usually "
            "ends in /v1)" + (f"; {proxy.cure}" if proxy else "")
        )
        return UsageError(
            f"no server answers at {self.config.url}: {self._by_proxy(reason)}", cure=cure
        )

    def _redirected(self, reason: str) -> UsageError:
        return UsageError(
            f"{self.config.url} cannot be asked: {self._by_proxy(self.clean(reason))}",
            cure=f"where that is the server you mean, --set {self.name}.url=URL with its address: "
            "key and pictures go to no other than the one that is named",
        )

    def no_client(self, error: Exception) -> UsageError:
        """The client library cannot even begin."""
        wrong = unusable_proxy()
        if wrong:
            return UsageError(
                f"{self.config.url} cannot be asked: {wrong}",
                cure="correct the variable, or unset it where no proxy is needed",
            )
        wrong = missing_certificates()
        if wrong:
            return UsageError(
                f"{self.config.url} cannot be asked: {wrong}",
                cure="correct the variable, or unset it",
            )
        return self.unreachable(self.clean(str(error) or type(error).__name__))

    def not_a_chat_server(self, text: str) -> UsageError:
        seen = self.clean(body_to_message(text))[:80]
        return UsageError(
            f"what answers at {self.config.url} is no chat completions server: "
            f"{self._by_proxy(repr(seen))}",
            cure=self._url_cure(),
        )

    def unfinished(self, what: str, *, finish: str, tokens: int | None) -> AnswerUnfinished:
        return AnswerUnfinished(
            f"{self.config.url}: {what}"
            + (f" within {tokens} tokens" if tokens else "")
            + f" (finish_reason: {finish or 'none'})",
            cure=f"take a model that thinks less, raise {self.name}.max_tokens, or give the server "
            "a longer context (vLLM: --max-model-len, llama.cpp: --ctx-size, Ollama: "
            "OLLAMA_CONTEXT_LENGTH)",
        )

    def refused(self, reason: str, *, parameter: str | None = None) -> RequestRefused:
        refusal = RequestRefused(f"{self.config.url} refuses a request: {self.clean(reason)}")
        refusal.parameter = parameter
        return refusal

    def gave_up(self, reason: str, *, tries: int) -> ServerDownError:
        return ServerDownError(
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

    def hide(self, text: str) -> str:
        """Without the key."""
        return hide_key(text, self.key)

    def clean(self, text: str) -> str:
        """In one line, short, and without the key."""
        text = " ".join(self.hide(text).split())
        return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."

    @property
    def _proxy(self) -> Proxy | None:
        return proxy_for(base_url(self.config.url))

    def _by_proxy(self, reason: str) -> str:
        return f"{reason} ({self._proxy.words})" if self._proxy else reason

    def _url_cure(self) -> str:
        likely = likely_url(base_url(self.config.url))
        example = f"perhaps {likely}" if likely else "the base URL, which usually ends in /v1"
        proxy = f"; {self._proxy.cure}" if self._proxy else ""
        return f"correct --set {self.name}.url=URL ({example}){proxy}"

    def _of_status(
        self, status: int, body: Any, headers: Mapping[str, str], code: str | None
    ) -> Failure:
        message = self.clean(body_to_message(body))
        reason = f"HTTP {status}: {message}" if message else f"HTTP {status}"
        page = isinstance(body, str) and body.lstrip().startswith("<")
        if page or status in (407, 502, 503, 504):
            # A server of models answers in JSON: this may be a proxy's answer.
            reason = self._by_proxy(reason)
        wait = asked_seconds(headers)
        if status == 402 or code in _QUOTA:
            cure = "add credit at the provider, then run the same command again; work is kept"
            return Failure(reason, UsageError(f"{self.config.url}: {reason}", cure=cure))
        if status == 407 or (page and status == 403 and self._proxy):
            return Failure(reason, self.unreachable(f"HTTP {status}"))
        if status in (401, 403):
            return Failure(reason, self._wrong_key(reason))
        if _FORM.search(message) and status not in (408, 409, 425, 429, *_OVERLOADED):
            return Failure(reason, self.refused(reason))
        if status in (404, 405):
            unknown = UsageError(
                f"{self.config.url} does not know the request ({reason})",
                cure=f"{self._url_cure()} or .model=NAME",
            )
            return Failure(reason, unknown)
        if status in (408, 409, 425, 429) or status >= 500:
            suspicious = status >= 500 and status not in _OVERLOADED and wait is None
            return Failure(reason, wait=wait, perhaps_form=suspicious)
        return Failure(reason, self.refused(reason, parameter=_parameter(message, body, code)))

    def _wrong_key(self, reason: str) -> UsageError:
        variable = self.config.key_variable
        cure = (
            f"is the key in the environment variable {variable} right, and allowed to use "
            f"{self.config.model}?"
            if self.key
            else f"it wants a key: export {variable}=..., where the workers see it too"
        )
        return UsageError(f"{self.config.url} refuses access ({reason})", cure=cure)


def body_to_message(body: Any, *, depth: int = 0) -> str:
    """The server's own words in a body of any shape; of an HTML page its title."""
    if isinstance(body, str):
        text = body.strip()
        if text.startswith("<"):
            title = re.search(r"<(?:title|h1)[^>]*>(.*?)</", text, re.IGNORECASE | re.DOTALL)
            return f"a web page, {' '.join(title[1].split())!r}" if title else "a web page"
        if text[:1] in ("{", "[") and depth < 3:
            try:
                return body_to_message(json.loads(text), depth=depth + 1) or text
            except (ValueError, RecursionError):
                return text
        return text
    if isinstance(body, list) and depth < 6:
        said = (body_to_message(one, depth=depth + 1) for one in body[:3])
        return "; ".join(one for one in said if one)
    if isinstance(body, Mapping) and depth < 6:
        # Routers pass on what the provider behind them said.
        raw = body.get("metadata")
        raw = raw.get("raw") if isinstance(raw, Mapping) else None
        for key in _MESSAGE_KEYS:
            words = body_to_message(body.get(key), depth=depth + 1)
            if words:
                behind = body_to_message(raw, depth=depth + 1)
                place = body.get("loc")
                where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
                return f"{where}{words}" + (f" ({behind})" if behind else "")
        return "" if not body else str(dict(body))
    return "" if body is None or isinstance(body, bool) else str(body)


def _body(error: openai.APIStatusError) -> Any:
    """As it came: the library drops what lies beside a member `error`."""
    try:
        return error.response.json()
    except (ValueError, RuntimeError):  # no JSON, or not read to its end
        return error.body


def _find(body: Any, key: str) -> Any:
    """A member of a body, or of the error in it."""
    if not isinstance(body, Mapping):
        return None
    error = body.get("error")
    found = error.get(key) if isinstance(error, Mapping) else None
    return body.get(key) if found is None else found


def _parameter(message: str, body: Any, code: str | None) -> str | None:
    """What a refusal is about, as `RequestRefused.parameter`."""
    named = str(_find(body, "param") or "")
    if code in ("content_filter", "content_policy_violation"):
        return "content"
    if _TEMPERATURE.search(named or message):
        return "temperature"
    if _TOKENS.search(message) or named in ("max_tokens", "max_completion_tokens"):
        unknown = re.search(r"unsupported|not supported|unknown|unrecogni|unexpected|extra|instead|"
                            r"not permitted|not allowed", message, re.IGNORECASE)  # fmt: skip
        many = _TOO_MANY.search(message.replace("max_tokens", ""))
        return "max_tokens" if unknown and not (many and "instead" not in message) else "tokens"
    return None


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

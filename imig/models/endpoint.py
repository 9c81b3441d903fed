"""A language or vision-language model behind an OpenAI-compatible server.

Any server that speaks the chat completions protocol: vLLM, Ollama, llama.cpp, or a hosted one.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from imig.errors import UsageError
from imig.models.endpoint_errors import Explainer, RequestRefused, says_unknown_model
from imig.models.waiting import Pace, backoff_seconds
from imig.recipe_parts import EndpointConfig
from imig.schema import ModelRecord

if TYPE_CHECKING:
    import openai

FAMILY: Final = "openai-endpoint"
LONGEST_WAIT: Final = 900.0
"""Seconds; a server that asks for more ends the run, which can be continued later."""
_TRIES_UNREACHED: Final = 2
"""Before a server that has never answered counts as absent."""

Form = Literal["json_schema", "json_object", "text"]
"""How an answer's schema goes to the server, from the strictest on."""

Message = Mapping[str, Any]
"""Of a chat: `role` and `content`, as the protocol has them."""


@dataclass
class Usage:
    """What has been asked so far."""

    requests: int = 0
    """Answered ones."""
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, other: Usage) -> None:
        self.requests += other.requests
        self.retries += other.retries
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens

    def cost(self, config: EndpointConfig) -> float | None:
        """In the currency of the recipe's prices; None where it names none."""
        prices = (config.price_per_million_input, config.price_per_million_output)
        if prices == (None, None):
            return None
        tokens = (self.input_tokens, self.output_tokens)
        return sum((price or 0.0) * n / 1e6 for price, n in zip(prices, tokens, strict=True))


class Endpoint:
    """A client that waits, tries again, and says in words what is wrong. Threads may share it.

    Parameters
    ----------
    name:
        The block's key in the recipe, for messages: ``source.writer.endpoint``.
    clients:
        Processes that share `requests_per_minute`.
    """

    def __init__(self, config: EndpointConfig, *, name: str, clients: int = 1) -> None:
        self.config = config
        self.usage = Usage()
        self._explainer = Explainer(config, _read_key(config), name)
        rate = config.requests_per_minute
        self._pace = Pace(rate / clients if rate else None)
        self._client = _make_client(config, self._explainer)
        self._forms: tuple[Form, ...] = get_args(Form)
        self._reached = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Endpoint({self.config.model!r} at {self.config.url!r})"

    @property
    def model_name(self) -> str:
        """As scenes record it."""
        record = endpoint_record(self.config)
        return f"{record.family}:{record.weights}@{record.revision}"

    def ask(self, messages: Sequence[Message], *, schema: Mapping[str, Any]) -> str:
        """One answer; a JSON object of this schema, if the model does as it is told.

        The schema goes the way that the server takes: as a JSON schema; else with "a JSON object,
        please" and the schema in words; else in words alone.

        Raises
        ------
        UsageError
            Wrong URL, key or model.
        RequestRefused
            The server takes this request in no form; others may be fine.
        DataError
            All tries failed, for the server's reasons.
        """
        forms = self._forms
        for index, form in enumerate(forms):
            try:
                text = self._ask_patiently(self._request(form, messages, schema))
            except RequestRefused:
                if form == forms[-1]:
                    raise
                continue
            # Where a plainer form is taken after a refusal, the refusal was about the form.
            if index > 0:
                self._forms = forms[index:]
            return text
        raise AssertionError("the last form answers or raises")

    def _ask_patiently(self, request: dict[str, Any]) -> str:
        tries = 0
        while True:
            tries += 1
            self._pace.wait()
            try:
                return self._ask_once(request)
            except UsageError:
                raise
            except Exception as error:
                failure = self._explainer.explain(error)
                if failure.final is not None:
                    raise self._final(error, failure.final) from None
            if failure.unreached and not self._reached and tries >= _TRIES_UNREACHED:
                raise self._explainer.unreachable(failure.reason)
            wait = failure.wait or 0.0
            if tries > self.config.max_retries or wait > LONGEST_WAIT:
                reason = failure.reason
                if wait > LONGEST_WAIT:
                    reason += f"; it asks to wait {wait:.0f} s"
                raise self._explainer.gave_up(reason, tries=tries)
            if failure.wait is not None:
                self._pace.hold(wait)
            with self._lock:
                self.usage.retries += 1
            # Jitter beyond what the server asks for: it has told everybody the same.
            time.sleep(wait + backoff_seconds(tries, first=self.config.backoff_seconds))

    def _ask_once(self, request: dict[str, Any]) -> str:
        """Raises whatever the library raises, and ValueError for an answer without sense."""
        answer = self._client.chat.completions.create(**request, extra_headers=self._headers())
        if isinstance(answer, str) and not self._reached:
            raise self._explainer.not_a_chat_server(answer)
        choices = getattr(answer, "choices", None)
        if not choices or choices[0].message is None:
            # Some routers answer 200 and put the error into the body.
            raise ValueError(f"no choices: {getattr(answer, 'error', None) or str(answer)[:200]}")
        usage = getattr(answer, "usage", None)
        with self._lock:
            self._reached = True
            self.usage.requests += 1
            self.usage.input_tokens += getattr(usage, "prompt_tokens", None) or 0
            self.usage.output_tokens += getattr(usage, "completion_tokens", None) or 0
        return str(choices[0].message.content or "")

    def _final(self, error: Exception, final: Exception) -> Exception:
        if says_unknown_model(error, self.config.model):
            message = self._explainer.clean(str(getattr(error, "message", "")))
            return self._explainer.unknown_model(message, self._models_there())
        return final

    def _models_there(self) -> list[str]:
        try:
            return sorted(
                one.id
                for one in self._client.models.list(timeout=5.0, extra_headers=self._headers())
            )
        except Exception:  # it only makes an error message better
            return []

    def _request(
        self, form: Form, messages: Sequence[Message], schema: Mapping[str, Any]
    ) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.config.model, "messages": list(messages)}
        if self.config.temperature is not None:
            request["temperature"] = self.config.temperature
        if form == "json_schema":
            wanted = {"name": "answer", "strict": True, "schema": dict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": wanted}
            return request
        request["messages"][-1] = _with_words(messages[-1], _schema_in_words(schema))
        if form == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request

    def _headers(self) -> dict[str, Any] | None:
        """Of each request: the library wants to hear that a missing key is meant."""
        import openai

        return None if self._explainer.key else {"Authorization": openai.Omit()}

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an endpoint holds a key and is not sent anywhere; make one in the worker")


def endpoint_record(config: EndpointConfig) -> ModelRecord:
    """The manifest's record: which weights a server has behind a name, it does not say."""
    return ModelRecord(family=FAMILY, weights=config.model, revision="unknown")


def image_part(data: bytes, *, mime: str) -> dict[str, Any]:
    """A picture within the content of a message; `mime` for example ``image/jpeg``."""
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _read_key(config: EndpointConfig) -> str | None:
    key = os.environ.get(config.key_variable, "").strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError(
            f"the environment variable {config.key_variable} holds no key: it has characters that "
            "no key has",
            cure=f"export {config.key_variable}=... again",
        )
    return key or None


def _make_client(config: EndpointConfig, explainer: Explainer) -> openai.OpenAI:
    import openai

    try:
        return openai.OpenAI(
            api_key=explainer.key or "none",
            base_url=config.url,
            timeout=config.timeout_seconds,
            max_retries=0,  # ours count, hold the other threads too, and can be shown
        )
    except Exception as error:
        raise explainer.unreachable(explainer.clean(str(error))) from None


def _schema_in_words(schema: Mapping[str, Any]) -> str:
    return "Answer with one JSON object and nothing else. It obeys this JSON schema: " + json.dumps(
        schema, ensure_ascii=False
    )


def _with_words(message: Message, words: str) -> Message:
    """More text in the same message: some models take no two of the same role in a row."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{words}"}
    return {**message, "content": [*content, {"type": "text", "text": words}]}

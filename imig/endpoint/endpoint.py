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

from imig.endpoint.errors import Explainer, Failure, RequestRefused, ServerFault, says_unknown_model
from imig.endpoint.place import base_url
from imig.endpoint.reply import Reply, completion_to_reply
from imig.endpoint.waiting import Throttle, backoff_seconds
from imig.errors import UsageError
from imig.models.json_answer import is_whole_answer
from imig.models.thoughts import without_thoughts
from imig.recipe.parts import EndpointConfig
from imig.schema import ModelRecord

if TYPE_CHECKING:
    import openai

FAMILY: Final = "openai-endpoint"
LONGEST_WAIT: Final = 900.0
"""Seconds; a server that asks for more ends the run, which can be continued later."""
_TRIES_UNREACHED: Final = 2
"""Before a server that has never answered counts as absent."""
_FAULTS_OF_PROVEN: Final = 3
"""Of the server, one after the other, before a form that has worked is doubted."""
FIRST_TOKENS: Final = 4_096
MOST_TOKENS: Final = 32_768
"""Tokens that an answer may take after one broke off: the first, doubled up to the second."""

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
        self._throttle = Throttle(rate / clients if rate else None)
        self._client = _make_client(config, self._explainer)
        self._forms: tuple[Form, ...] = get_args(Form)
        self._form_proven = False
        self._temperature = config.temperature
        self._tokens_name: str | None = "max_tokens"
        self._max_tokens = config.max_tokens
        self._answers_as_thoughts = False
        self._notes: dict[str, str] = {}
        self._reached = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Endpoint({self.config.model!r} at {self.config.url!r})"

    @property
    def model_name(self) -> str:
        """As scenes record it."""
        record = endpoint_record(self.config)
        return f"{record.family}:{record.weights}@{record.revision}"

    @property
    def notes(self) -> list[str]:
        """What the server did not take, or the model did not do, and what was done instead."""
        return list(self._notes.values())

    def ask(self, messages: Sequence[Message], *, schema: Mapping[str, Any] | None) -> str:
        """One answer; a JSON object of this schema, if the model does as it is told.

        With None the messages go as they are, and any words are an answer.

        The schema goes the way that the server takes: as a JSON schema; else with "a JSON object,
        please" and the schema in words; else in words alone. An answer that breaks off, and one
        that is nothing but thoughts, is asked for again with more tokens. What had to be done
        otherwise than asked is remembered, and said in `notes`.

        Raises
        ------
        UsageError
            Wrong URL, key or model.
        RequestRefused
            The server takes this request in no form, the model refuses, or does not come to an
            answer (`AnswerUnfinished`); others may be fine.
        DataError
            All tries failed, for the server's reasons.
        """
        tokens = self._max_tokens
        before: tuple[str, Reply] | None = None
        while True:
            try:
                reply = self._ask_patiently(messages, schema, tokens)
            except RequestRefused as refusal:
                if refusal.parameter != "tokens" or before is None:
                    raise
                # So many tokens it does not take; what it takes is too few.
                problem, reply = before
                problem += f", and more tokens the server refuses: {refusal.message};"
                raise self._explainer.unfinished(
                    problem, finish=reply.finish, tokens=reply.output_tokens
                ) from None
            problem = self._unfinished(reply, schema, asked_again=before is not None)
            if not problem:
                self._remember_tokens(tokens)
                return reply.text if reply.text.strip() else reply.thoughts
            more = _more_tokens(tokens, reply.output_tokens)
            thinks_only = before is not None and not reply.broken_off
            if more is None or thinks_only or self._tokens_name is None:
                self._remember_tokens(tokens)
                raise self._explainer.unfinished(problem, finish=reply.finish, tokens=tokens)
            self._note("tokens", f"{problem}: asked again with {more} tokens (max_tokens)")
            tokens, before = more, (problem, reply)

    def _unfinished(
        self, reply: Reply, schema: Mapping[str, Any] | None, *, asked_again: bool
    ) -> str:
        """Why a reply is no answer yet; empty: it is one, or more tokens would not mend it."""
        if schema is None:
            if without_thoughts(reply.text).strip():
                return ""
            if reply.broken_off:
                return "the answer breaks off"
        elif reply.broken_off:
            # Some models go on with blanks after their answer, until the end of their tokens.
            whole = is_whole_answer(reply.text, schema=schema)
            return "" if whole else "the answer breaks off"
        if not reply.thoughts_only:
            return ""
        if schema is not None and is_whole_answer(reply.thoughts, schema=schema):
            # Some servers take an answer without thoughts for thoughts.
            if asked_again and not self._answers_as_thoughts:
                self._note(
                    "thoughts", "the server gives answers as reasoning, where they were read"
                )
                self._answers_as_thoughts = True
            if self._answers_as_thoughts:
                return ""
        return "the answer is nothing but thoughts (reasoning_content)"

    def _remember_tokens(self, tokens: int | None) -> None:
        """Who needs them once needs them again, and has paid for less once."""
        with self._lock:
            self._max_tokens = max(tokens or 0, self._max_tokens or 0) or None

    def _note(self, kind: str, words: str) -> None:
        with self._lock:
            self._notes[kind] = f"{self.config.url}: {words}"

    def _ask_patiently(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, tokens: int | None
    ) -> Reply:
        """A reply, whatever it says; tries again, waits, and finds the form that the server takes.

        A form is given up when it is refused. Servers also break over a schema: a fault is tried
        again in the next form, around and around and within the same number of tries, for most
        faults have nothing to do with it.
        """
        forms: tuple[Form, ...] = ("text",) if schema is None else self._forms
        index, tries, faults = 0, 0, 0
        while True:
            request = self._request(forms[index], messages, schema, tokens)
            self._throttle.wait()
            try:
                reply = self._ask_once(request)
            except UsageError:
                raise
            except Exception as error:
                failure = self._explainer.explain(error)
                if failure.final is not None:
                    final = self._final(error, failure.final)
                    if not isinstance(final, RequestRefused) or final.parameter == "content":
                        raise final from None
                    if self._without(final.parameter, request):
                        continue
                    if final.parameter == "tokens" or index + 1 == len(forms):
                        raise final from None
                    index += 1
                    continue
            else:
                if schema is not None:
                    self._settle(forms[index:], faults=faults)
                return self._accepted(reply)
            tries += 1
            self._wait_after(failure, tries)
            if failure.perhaps_form:
                faults += 1
                # A form that has worked is given more chances before another one is tried.
                if not self._form_proven or faults >= _FAULTS_OF_PROVEN:
                    index = (index + 1) % len(forms)

    def _settle(self, forms: tuple[Form, ...], *, faults: int) -> None:
        """The first of these forms was taken: the stricter ones are not tried again.

        Not after many faults, or of a form that has worked: the server was ill, whatever the form.
        """
        with self._lock:
            if faults == 0 or (not self._form_proven and faults < len(get_args(Form))):
                if len(forms) < len(self._forms):
                    self._forms = forms
                self._form_proven = True

    def _accepted(self, reply: Reply) -> Reply:
        """The reply, unless it is a refusal: other words may be answered."""
        if reply.filtered:
            raise self._explainer.refused(
                f"its content filter stopped the answer (finish_reason: {reply.finish})",
                parameter="content",
            )
        if reply.refusal and not reply.text.strip():
            raise self._explainer.refused(f"the model says {reply.refusal!r}", parameter="content")
        return reply

    def _without(self, parameter: str | None, request: Mapping[str, Any]) -> bool:
        """Leave a refused parameter out from now on; False: it is not for want of that."""
        if parameter == "temperature" and "temperature" in request:
            self._temperature = None
            self._note("temperature", "the model takes no temperature: asked without it")
            return True
        for name, other in (
            ("max_tokens", "max_completion_tokens"),
            ("max_completion_tokens", None),
        ):
            if parameter == "max_tokens" and name in request:
                self._tokens_name = other
                return True
        return False

    def _wait_after(self, failure: Failure, tries: int) -> None:
        """Let time pass before the next try; raises when this was the last one."""
        if failure.unreached and not self._reached and tries >= _TRIES_UNREACHED:
            raise self._explainer.unreachable(failure.reason)
        wait = failure.wait or 0.0
        if tries > self.config.max_retries or wait > LONGEST_WAIT:
            reason = failure.reason
            if wait > LONGEST_WAIT:
                reason += f"; it asks to wait {wait:.0f} s"
            raise self._explainer.gave_up(reason, tries=tries)
        if failure.wait is not None:
            self._throttle.hold(wait)
        with self._lock:
            self.usage.retries += 1
        # Jitter beyond what the server asks for: it has told everybody the same.
        time.sleep(wait + backoff_seconds(tries, first=self.config.backoff_seconds))

    def _ask_once(self, request: dict[str, Any]) -> Reply:
        """Raises whatever the library raises, ServerFault, and ValueError without a choice."""
        answer = self._client.chat.completions.create(**request, extra_headers=self._headers())
        if isinstance(answer, str) and not self._reached:
            raise self._explainer.not_a_chat_server(answer)
        fault = getattr(answer, "error", None)
        if fault and not getattr(answer, "choices", None):
            # Some routers answer 200 and put the error into the body.
            raise ServerFault({"error": fault})
        reply = completion_to_reply(answer).map_texts(self._explainer.hide)
        if reply.finish == "error":
            raise ServerFault({"error": getattr(answer.choices[0], "error", None) or "no reason"})
        usage = getattr(answer, "usage", None)
        with self._lock:
            self._reached = True
            self.usage.requests += 1
            self.usage.input_tokens += getattr(usage, "prompt_tokens", None) or 0
            self.usage.output_tokens += reply.output_tokens
        return reply

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
        self,
        form: Form,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
        tokens: int | None,
    ) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.config.model, "messages": list(messages)}
        if self._temperature is not None:
            request["temperature"] = self._temperature
        if tokens is not None and self._tokens_name is not None:
            request[self._tokens_name] = tokens
        if schema is None:
            return request
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

    from imig.endpoint.client import BoundedClient

    try:
        return openai.OpenAI(
            api_key=explainer.key or "none",
            base_url=base_url(config.url),
            timeout=config.timeout_seconds,
            http_client=BoundedClient(key=explainer.key, seconds=config.timeout_seconds),
            max_retries=0,  # ours count, hold the other threads too, and can be shown
        )
    except Exception as error:
        raise explainer.no_client(error) from None


def _more_tokens(allowed: int | None, used: int) -> int | None:
    """How many an answer is allowed that broke off; None: it has had as many as anybody gets."""
    before = max(allowed or 0, used)
    most = max(MOST_TOKENS, allowed or 0)
    return None if before >= most else min(most, max(FIRST_TOKENS, 2 * before))


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

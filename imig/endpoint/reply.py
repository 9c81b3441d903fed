"""What a chat completion says: its text, wherever a server puts it, and why it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

_LENGTH: Final = ("length", "max_tokens", "max_output_tokens", "model_length")
_FILTERED: Final = (
    "content_filter", "content_filtered", "safety", "prohibited_content", "blocklist", "sensitive",
    "recitation",
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """An answer of the protocol."""

    text: str
    """Also the arguments of a call, where the model calls a function with its answer."""
    thoughts: str
    """What a server has put aside as reasoning."""
    finish: str
    """Why it ends, as the server says it."""
    refusal: str
    """In the model's words."""
    output_tokens: int

    @property
    def broken_off(self) -> bool:
        return self.finish.lower() in _LENGTH

    @property
    def filtered(self) -> bool:
        return self.finish.lower() in _FILTERED

    @property
    def thoughts_only(self) -> bool:
        return not self.text.strip() and bool(self.thoughts.strip())

    def map_texts(self, change: Callable[[str], str]) -> Reply:
        """The reply with its texts changed, which may have come in several parts."""
        return replace(
            self,
            text=change(self.text),
            thoughts=change(self.thoughts),
            finish=change(self.finish),
            refusal=change(self.refusal),
        )


def completion_to_reply(completion: Any) -> Reply:
    """The first choice of a completion, an object of the client library.

    Raises ValueError when it has none; the message is the server's, where it gives one.
    """
    choices = getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if message is None:
        raise ValueError(f"no choices: {str(completion)[:200]}")
    texts, thoughts = _parts(getattr(message, "content", None))
    for name in ("reasoning_content", "reasoning", "thinking"):
        said = getattr(message, name, None)
        if isinstance(said, str) and not thoughts:
            thoughts = [said]
    text = "".join(texts)
    usage = getattr(completion, "usage", None)
    tokens = getattr(usage, "completion_tokens", None)
    return Reply(
        text=text if text.strip() else _arguments(message),
        thoughts="".join(thoughts),
        finish=str(getattr(choice, "finish_reason", None) or ""),
        refusal=str(getattr(message, "refusal", None) or ""),
        output_tokens=tokens if isinstance(tokens, int) else 0,
    )


def _parts(content: Any) -> tuple[list[str], list[str]]:
    """Texts and thoughts of a content: a text, a list of parts, or the answer as an object."""
    if content is None:
        return [], []
    if isinstance(content, str):
        return [content], []
    if not isinstance(content, list):
        return [json.dumps(_plain(content), ensure_ascii=False)], []
    texts: list[str] = []
    thoughts: list[str] = []
    for part in map(_plain, content):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            said = list(_strings(part.get("text", part.get("thinking", part.get("content")))))
            thinks = str(part.get("type", "")) in ("thinking", "reasoning")
            (thoughts if thinks else texts).extend(said)
    return texts, thoughts


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part.get("text") if isinstance(part, dict) else part)


def _arguments(message: Any) -> str:
    """Of the last function that the model calls: some answer in this way, asked for JSON."""
    calls = getattr(message, "tool_calls", None)
    called = [_plain(one) for one in calls] if isinstance(calls, list) else []
    functions = [one.get("function") for one in called if isinstance(one, dict)]
    functions.append(_plain(getattr(message, "function_call", None)))
    for function in reversed(functions):
        if isinstance(function, dict) and function.get("arguments"):
            arguments = function["arguments"]
            return arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ""


def _plain(value: Any) -> Any:
    """JSON values of an object of the client library."""
    return value.model_dump(warnings=False) if hasattr(value, "model_dump") else value

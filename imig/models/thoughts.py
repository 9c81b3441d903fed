"""Where a language model's thoughts begin and end in what it said.

The marks are those of the chat templates of published models; most servers leave them in the text
when they have not been told which reasoning parser to use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAMES: Final = (
    r"think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|analysis|scratch_?pad|inner_monologue|"
    r"deliberation"
)
_XML_CLOSE: Final = rf"</(?:\w+:)?(?:{_NAMES})\s*>"
_RESPONSE: Final = r"Here(?:['’]s| is) my response:"
_TOKEN_END: Final = (
    r"<\|(?:END_THINKING|end_of_thought|end_of_think|inner_suffix|/think(?:ing)?)\|>"
)


@dataclass(frozen=True)
class Marks:
    """How one kind of thoughts is marked.

    `stray`: the close without its open one, which a template may have put into the question.
    """

    open: str
    close: str
    stray: str | None


MARKS: Final = (
    # DeepSeek, Qwen, GLM, Phi, Granite 3.3, Hunyuan; `seed:think` of Seed-OSS, EXAONE's `thought`.
    Marks(rf"<(?:\w+:)?(?:{_NAMES})(?:\s[^<>{{}}/]*)?>", _XML_CLOSE, _XML_CLOSE),
    # Magistral.
    Marks(r"\[THINK(?:ING)?\]", r"\[/THINK(?:ING)?\]", r"\[/THINK(?:ING)?\]"),
    # Kimi.
    Marks("◁think▷", "◁/think▷", "◁/think▷"),
    # Command A, OpenThinker, Apertus, Solar.
    Marks(
        r"<\|(?:START_THINKING|begin_of_thought|begin_of_think|inner_prefix|think(?:ing)?)\|>",
        rf"{_TOKEN_END}|<\|end\|>|<\|content\|>",
        _TOKEN_END,
    ),
    # gpt-oss: every channel but the final one.
    Marks(
        r"<\|channel\|>\s*(?:analysis|commentary)\b",
        r"<\|(?:end|start|call|return)\|>|(?=<\|channel\|>)",
        r"<\|channel\|>\s*final\b",
    ),
    # gpt-oss, its marks dropped as special tokens.
    Marks(r"\Aanalysis(?=(?s:.*)assistantfinal)", "assistantfinal", None),
    # Gemma 4.
    Marks(r"<\|channel>\s*thought\b", r"<channel\|>", r"<channel\|>"),
    # Granite 3.2, and Apriel: in words.
    Marks(r"\A\s*Here(?:['’]s| is) my thought process:", _RESPONSE, rf"^\s*{_RESPONSE}"),
    Marks(
        r"\A\s*Here are my reasoning steps:",
        r"\[BEGIN FINAL RESPONSE\]",
        r"\[BEGIN FINAL RESPONSE\]",
    ),
)
_FLAGS: Final = re.IGNORECASE | re.MULTILINE
CLOSES: Final = tuple(re.compile(marks.close, _FLAGS) for marks in MARKS)
MARK: Final = re.compile(
    "|".join(
        [f"(?P<open{n}>{marks.open})" for n, marks in enumerate(MARKS)]
        + [f"(?P<stray{n}>{marks.stray})" for n, marks in enumerate(MARKS) if marks.stray]
    ),
    _FLAGS,
)
"""A group `open<n>` or `stray<n>`, n being the place in `MARKS`."""


_LEFT_OPEN: Final = re.compile(rf"([<\[◁])((?:\w+:)?(?:{_NAMES}))([>\]▷])\s*\Z", re.IGNORECASE)
_ENDS_CLOSED: Final = re.compile(rf"[<\[◁]/(?:\w+:)?(?:{_NAMES})[>\]▷]\s*\Z", re.IGNORECASE)


def words_that_end_thoughts(prompt: str, *, template: str) -> str:
    """What to say for a model, after the prompt of its chat template, so that it answers at once.

    Empty for models that do not think, and where the template has said it. `prompt` is what the
    template made; where it leaves thoughts open they are ended, and where it only knows of them
    (as its model does) empty ones are said.
    """
    found = _LEFT_OPEN.search(prompt)
    if found is not None:
        return f"\n{found[1]}/{found[2]}{found[3]}\n\n"
    if _ENDS_CLOSED.search(prompt):
        return ""
    if "<think>" in template and "</think>" in template:
        return "<think>\n\n</think>\n\n"
    return ""


def without_thoughts(text: str) -> str:
    """What was said beside thoughts; empty where thoughts began and never ended."""
    kept: list[str] = []
    position = 0
    while (found := MARK.search(text, position)) is not None:
        name = found.lastgroup or ""
        if name.startswith("stray"):
            kept = []
            position = max(found.end(), position + 1)
            continue
        kept.append(text[position : found.start()])
        close = CLOSES[int(name.removeprefix("open"))].search(text, found.end())
        if close is None:
            return "".join(kept)
        position = close.end()
    return "".join([*kept, text[position:]])

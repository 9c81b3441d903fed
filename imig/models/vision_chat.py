"""Vision-language models of transformers: answers about pictures, and captions with their objects.

All that the families for such models share. They answer greedily, so that answers repeat, and
models that think first are told that they have.

Of a question for yes or no the verdict is read off the first word's probabilities: it is always
there. What the model says after it is the reason. A caption comes as JSON, in as many questions as
`imig.models.describing` takes.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import PIL.Image
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.describing import DescribingCaptioner, Interview, description_question
from imig.models.images import as_rgb, equal_batches
from imig.models.libraries import inference_mode, transformers
from imig.models.pretrained import load_pretrained, load_processor
from imig.models.protocols import Description, PictureAnswer
from imig.models.thoughts import without_thoughts, words_that_end_thoughts
from imig.text import to_encodable

ANSWER_TOKENS: Final = 48
"""Of a verdict and its reason, at most."""
CAPTION_TOKENS: Final = 512
"""Of a caption and its phrases as JSON, at most: twice what a long one takes."""
_WORDS: Final = "Answer with yes or no first, then with the reason in a few words."

CHAT_FILES: Final = (
    "config.json",
    "preprocessor_config.json|processor_config.json",
    "tokenizer_config.json",
)
"""`Family.needs` of these families."""

Turns = Sequence[str]
"""A question about a picture, an answer, a question, ...: the last is a question."""
T = TypeVar("T")


class VisionChat(DescribingCaptioner, Batched):
    """A `PictureAnswerer` and a `PhraseCaptioner`; a family adds which models it takes."""

    @classmethod
    @abstractmethod
    def model_types(cls) -> tuple[str, ...]:
        """What `model_type` in a checkpoint's `config.json` may say."""

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._processor = load_processor(transformers.AutoProcessor, weights)
        if not getattr(self._processor, "chat_template", None):
            raise UsageError(
                f"{weights.family}: {weights.path} has no chat template: it answers no questions",
                cure="take an instruction-tuned checkpoint, as `imig models list` names them, and "
                "copy its whole folder",
            )
        self._tokenizer = self._processor.tokenizer
        self._template = self._template_without_thoughts()
        self._yes, self._no = _verdict_tokens(self._tokenizer, weights)
        self._model = load_pretrained(
            transformers.AutoModelForImageTextToText,
            weights,
            model_types=self.model_types(),
            device=runtime.device,
            dtype=runtime.dtype,
        )

    def answer(
        self, images: Sequence[Image], questions: Sequence[str], *, verbatim: bool = False
    ) -> list[PictureAnswer]:
        """As `imig.models.protocols.PictureAnswerer`; of a verbatim question no reason is given."""
        if verbatim:
            turns = [[question] for question in questions]
            return self._ask_all(as_rgb(images), turns, self._judge)
        turns = [[f"{question} {_WORDS}"] for question in questions]
        return self._ask_all(as_rgb(images), turns, self._answer)

    def describe(
        self, images: Sequence[Image], *, instruction: str, max_phrases: int
    ) -> list[Description]:
        """As `imig.models.protocols.PhraseCaptioner`."""
        pictures = as_rgb(images)
        question = description_question(instruction, max_phrases=max_phrases)
        interviews = [Interview(question, max_phrases=max_phrases) for _ in pictures]
        while waiting := [n for n, one in enumerate(interviews) if not one.done]:
            turns = [interviews[n].turns for n in waiting]
            said = self._ask_all([pictures[n] for n in waiting], turns, self._say)
            for n, text in zip(waiting, said, strict=True):
                interviews[n].hear(text)
        return [one.description() for one in interviews]

    def _ask_all(
        self,
        pictures: list[Image],
        turns: Sequence[Turns],
        ask: Callable[[list[Image], list[Turns]], list[T]],
    ) -> list[T]:
        """What `ask` makes of them, in batches.

        They are equal in size and length, so that nothing is padded and answers do not depend on
        others.
        """
        plain = [[self._without_special_tokens(one) for one in texts] for texts in turns]
        keys = [
            (picture.size, self._length(picture, texts))
            for picture, texts in zip(pictures, plain, strict=True)
        ]
        answers: dict[int, T] = {}
        for batch in equal_batches(keys, batch_size=self._batch_size):
            said = ask([pictures[i] for i in batch], [plain[i] for i in batch])
            answers.update(zip(batch, said, strict=True))
        return [answers[index] for index in range(len(pictures))]

    def _without_special_tokens(self, text: str) -> str:
        """A phrase from outside must not say where a picture stands, or that the question ends."""
        special = {*self._tokenizer.all_special_tokens, getattr(self._processor, "image_token", "")}
        for token in sorted(filter(None, special), key=len, reverse=True):
            text = text.replace(token, " ")
        return to_encodable(text)

    def _template_without_thoughts(self) -> str | None:
        """The chat template, thoughts ended where it begins them; None: it is good as it is."""
        template = self._processor.chat_template
        if not isinstance(template, str):
            return None
        prompt = self._processor.apply_chat_template(
            _conversation(PIL.Image.new("RGB", (1, 1)), [""]),
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,
        )
        words = words_that_end_thoughts(prompt, template=template)
        ending = f"{{% if add_generation_prompt %}}{{{{ {words!r} }}}}{{% endif %}}"
        return template + ending if words else None

    def _length(self, image: Image, turns: Turns) -> int:
        """Tokens of the words around the picture."""
        text = self._processor.apply_chat_template(
            _conversation(image, turns),
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,
        )
        return len(self._tokenizer(text)["input_ids"])

    def _answer(self, images: list[Image], turns: list[Turns]) -> list[PictureAnswer]:
        texts, logits = self._generate(
            images, turns, max_new_tokens=ANSWER_TOKENS, output_logits=True
        )
        return [
            PictureAnswer(verdict, _reason(text))
            for verdict, text in zip(self._verdicts(logits[0]), texts, strict=True)
        ]

    def _judge(self, images: list[Image], turns: list[Turns]) -> list[PictureAnswer]:
        _, logits = self._generate(images, turns, max_new_tokens=1, output_logits=True)
        return [PictureAnswer(verdict, "") for verdict in self._verdicts(logits[0])]

    def _verdicts(self, logits: Any) -> list[bool]:
        """Whether an answer that begins with a token of these says yes; (n, vocabulary)."""
        first = logits.float().log_softmax(dim=-1)
        yes = first[:, self._yes].logsumexp(dim=-1) >= first[:, self._no].logsumexp(dim=-1)
        verdicts: list[bool] = yes.tolist()
        return verdicts

    def _say(self, images: list[Image], turns: list[Turns]) -> list[str]:
        # Without logits: those of a long answer take more memory than the model.
        return self._generate(images, turns, max_new_tokens=CAPTION_TOKENS, output_logits=False)[0]

    @inference_mode
    def _generate(
        self, images: list[Image], turns: list[Turns], *, max_new_tokens: int, output_logits: bool
    ) -> tuple[list[str], Any]:
        """What the model says, and a token's logits, (n, vocabulary) each, where asked for."""
        inputs = self._processor.apply_chat_template(
            [_conversation(*pair) for pair in zip(images, turns, strict=True)],
            chat_template=self._template,
            enable_thinking=False,  # of templates that know the word, as Qwen3's
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device, self._dtype)
        done = self._model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            output_logits=output_logits,
            return_dict_in_generate=True,
        )
        begin = inputs["input_ids"].shape[1]
        texts = self._tokenizer.batch_decode(done.sequences[:, begin:], skip_special_tokens=True)
        return texts, done.logits


def _conversation(image: Image, turns: Turns) -> list[dict[str, Any]]:
    """A chat whose first question is about the picture."""
    messages: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[n % 2], "content": [{"type": "text", "text": turn}]}
        for n, turn in enumerate(turns)
    ]
    messages[0]["content"].insert(0, {"type": "image", "image": image})
    return messages


def _verdict_tokens(tokenizer: Any, weights: ResolvedWeights) -> tuple[list[int], list[int]]:
    """Tokens with which an answer that says yes, or no, begins."""
    found: list[list[int]] = []
    for word in ("yes", "no"):
        wordings = (word, word.capitalize(), f" {word}", f" {word.capitalize()}")
        ids = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in wordings]
        found.append(sorted({one[0] for one in ids if one}))
    yes, no = found
    shared = set(yes) & set(no)
    yes, no = ([token for token in own if token not in shared] for own in (yes, no))
    if not yes or not no:
        raise UsageError(
            f"{weights.family}: the tokenizer in {weights.path} does not tell yes from no",
            cure="take another checkpoint: `imig models list`",
        )
    return yes, no


def _reason(text: str) -> str:
    """What was said, without the verdict at its beginning."""
    words = " ".join(without_thoughts(text).split())
    return re.sub(r"^\W*(yes|no)\b[\s,.:;*_-]*", "", words, flags=re.IGNORECASE)

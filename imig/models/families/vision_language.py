"""Family `vision-language`: questions about pictures, for any such model of transformers.

The verdict is read off the first word's probabilities, "yes" against "no": it is always there, and
repeats. What the model says after it is the reason. Models that think first are told that they
have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import PIL.Image
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.images import as_rgb, equal_batches
from imig.models.libraries import inference_mode, transformers
from imig.models.pretrained import load_pretrained, load_processor
from imig.models.protocols import PictureAnswer
from imig.models.thoughts import without_thoughts, words_that_end_thoughts
from imig.text import to_encodable

_MAX_NEW_TOKENS: Final = 48
_WORDS: Final = "Answer with yes or no first, then with the reason in a few words."


class VisionLanguage(Batched):
    """A `PictureAnswerer`; answers greedily, so that they repeat."""

    family: ClassVar[Family] = Family(
        name="vision-language",
        tasks=("answer about pictures",),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=(
            "config.json",
            "preprocessor_config.json|processor_config.json",
            "tokenizer_config.json",
        ),
        checkpoints=(
            Checkpoint("Qwen/Qwen2.5-VL-7B-Instruct", 16_600, "Apache-2.0"),
            Checkpoint("HuggingFaceTB/SmolVLM-Instruct", 4_490, "Apache-2.0"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        from transformers.models.auto import modeling_auto

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
            model_types=tuple(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
            device=runtime.device,
            dtype=runtime.dtype,
        )

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[PictureAnswer]:
        """Yes or no, and why, for each picture and its question."""
        pictures = as_rgb(images)
        questions = [self._without_special_tokens(one) for one in questions]
        # Equal in size and length, so that nothing is padded and answers do not depend on others.
        keys = [
            (image.size, self._length(image, question))
            for image, question in zip(pictures, questions, strict=True)
        ]
        answers: dict[int, PictureAnswer] = {}
        for batch in equal_batches(keys, batch_size=self._batch_size):
            said = self._answer([pictures[i] for i in batch], [questions[i] for i in batch])
            answers.update(zip(batch, said, strict=True))
        return [answers[index] for index in range(len(pictures))]

    def _without_special_tokens(self, question: str) -> str:
        """A phrase from outside must not say where a picture stands, or that the question ends."""
        special = {*self._tokenizer.all_special_tokens, getattr(self._processor, "image_token", "")}
        for token in sorted(filter(None, special), key=len, reverse=True):
            question = question.replace(token, " ")
        return to_encodable(question)

    def _template_without_thoughts(self) -> str | None:
        """The chat template, thoughts ended where it begins them; None: it is good as it is."""
        template = self._processor.chat_template
        if not isinstance(template, str):
            return None
        prompt = self._processor.apply_chat_template(
            _conversation(PIL.Image.new("RGB", (1, 1)), ""),
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,
        )
        words = words_that_end_thoughts(prompt, template=template)
        ending = f"{{% if add_generation_prompt %}}{{{{ {words!r} }}}}{{% endif %}}"
        return template + ending if words else None

    def _length(self, image: Image, question: str) -> int:
        """Tokens of the words around the picture."""
        text = self._processor.apply_chat_template(
            _conversation(image, question),
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,
        )
        return len(self._tokenizer(text)["input_ids"])

    @inference_mode
    def _answer(self, images: list[Image], questions: list[str]) -> list[PictureAnswer]:
        inputs = self._processor.apply_chat_template(
            [_conversation(*pair) for pair in zip(images, questions, strict=True)],
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
            max_new_tokens=_MAX_NEW_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
        )
        first = done.logits[0].float().log_softmax(dim=-1)
        yes = first[:, self._yes].logsumexp(dim=-1) >= first[:, self._no].logsumexp(dim=-1)
        begin = inputs["input_ids"].shape[1]
        texts = self._tokenizer.batch_decode(done.sequences[:, begin:], skip_special_tokens=True)
        return [
            PictureAnswer(verdict, _reason(text))
            for verdict, text in zip(yes.tolist(), texts, strict=True)
        ]


def _conversation(image: Image, question: str) -> list[dict[str, Any]]:
    words = {"type": "text", "text": f"{question} {_WORDS}"}
    return [{"role": "user", "content": [{"type": "image", "image": image}, words]}]


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

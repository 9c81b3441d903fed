"""questions: are a benchmark's questions about the picture answered right?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pydantic import Field

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.metrics.answering import AnsweringConfig, fill_prompt
from imig.evaluation.metrics.base import Measure, Metric, Values
from imig.models.protocols import PictureAnswerer
from imig.stages.base import loaded


class QuestionsConfig(AnsweringConfig):
    """Questions for yes or no, put to a vision-language model one by one."""

    prompt: str = Field(
        default="Look at the picture and answer this question with one word, yes or no: {question}",
        pattern=r"\{question\}",
        description="All that the model is told beside the picture. Its wording moves the figure; "
        "docs/evaluation.md says how it differs from the released one.",
    )


class QuestionsMetric(Metric[QuestionsConfig]):
    """A vision-language model's answers to the cases' questions (LAMICBench++: ITC)."""

    name = "questions"
    measures = (
        Measure(
            name="answers_right", title="answers right", unit="question", percent=True,
            meaning="Share of questions that are answered as they should be.",
        ),
        Measure(
            name="picture_answers_right", title="ITC", unit="picture", percent=True,
            meaning="The same of each picture's own questions: pictures weigh the same, however "
            "many they have.",
        ),
    )  # fmt: skip

    answerer: PictureAnswerer = loaded("endpoint", "model")

    def lacks(self, case: Case) -> str | None:
        return None if case.questions else "no questions"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        asked = [(one.image, question) for one in seen for question in one.case.questions]
        prompts = [fill_prompt(self.config.prompt, question=one.text) for _, one in asked]
        answers = self.answerer.answer([image for image, _ in asked], prompts, verbatim=True)
        right = iter(
            float(answer.yes == question.answer)
            for answer, (_, question) in zip(answers, asked, strict=True)
        )
        return [_values(list(islice(right, len(one.case.questions)))) for one in seen]


def _values(right: list[float]) -> Values:
    return {"answers_right": right, "picture_answers_right": [sum(right) / len(right)]}

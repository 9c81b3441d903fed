"""What a stage may ask of a model, whatever the family behind it.

Every method is batched: it takes a sequence and returns a list of the same length and order. Images
are RGB PIL images of any size; a family resizes for its model and answers in pixels of the image
it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.models.family import Task
from imig.schema import Box


@dataclass(frozen=True)
class GroundedBoxes:
    """Candidates of one image, best first; not yet cleaned (see `imig.layout.boxes`)."""

    boxes: NDArray[np.float32]
    """(n, 4) x1, y1, x2, y2 in pixels, clipped to the image."""
    scores: NDArray[np.float32]
    """(n,) in [0, 1]: the best matching phrase's score."""
    phrases: list[str]
    """The prompt's phrase that each box matches best; "" when none reaches the text threshold."""
    unread: tuple[str, ...] = ()
    """Phrases that the model cannot take: nothing visible, no letter it knows, or one word longer
    than its text may be. They were not looked for; the others were."""
    masks: NDArray[np.bool_] | None = None
    """(n, height, width) in pixels of the image: a mask with each box, from families that find
    both at once."""


@dataclass(frozen=True)
class SegmentedMasks:
    """One mask for each box asked for."""

    masks: NDArray[np.bool_]
    """(n, height, width) in pixels of the image."""
    scores: NDArray[np.float32]
    """(n,) IoU that the model predicts for its own mask, clipped to [0, 1]."""


@dataclass(frozen=True)
class Origin:
    """How a picture was drawn: by this prompt and seed, at this size (pixels).

    For models that can draw the very same thing again instead of looking at it (`tabletop`); the
    others need only the picture.
    """

    prompt: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True)
class DrawRequest:
    """A picture of what a prompt says."""

    prompt: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True)
class EditRequest:
    """A picture to be changed as an instruction says."""

    image: Image
    instruction: str
    seed: int
    width: int
    """Of the answer, a multiple of 16."""
    height: int
    phrase: str
    """Of the subject."""
    origin: Origin | None = None
    """Of the picture that `image` was cut from."""
    box: Box | None = None
    """Where in that picture the subject is."""


@dataclass(frozen=True)
class ComposedReference:
    """A subject that must be seen in a composed picture."""

    image: Image
    phrase: str
    origin: Origin | None = None
    """Of the picture that `image` was cut from; the subject is the only thing in it."""


@dataclass(frozen=True)
class ComposeRequest:
    """A picture in which all references are seen, as a prompt says."""

    references: tuple[ComposedReference, ...]
    prompt: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True)
class GeneratorSettings:
    """How a generator samples; None: what its pipeline does by default."""

    steps: int | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture."""

    box: Box
    """Pixels of the picture."""
    score: float
    """Of the detection, in [0, 1]: the quality of the face."""
    embedding: NDArray[np.float32]
    """(dimensions,), L2-normalised recognition feature."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y in pixels: left eye, right eye, nose, left and right corner of the mouth, left as
    the viewer sees it."""


@dataclass(frozen=True)
class PictureAnswer:
    """What a vision-language model says to a question about a picture."""

    yes: bool
    reason: str
    """In the model's words; may be empty."""


@dataclass(frozen=True)
class Description:
    """What a captioner says of a picture when it names the objects too."""

    caption: str
    """"" where the model gave none that can be used; `problem` then says why."""
    phrases: tuple[str, ...] = ()
    """Noun phrases that stand in the caption, word for word, in its order; each once."""
    unfound: tuple[str, ...] = ()
    """Phrases that the model named to the last, and that do not stand in its caption."""
    problem: str = ""
    """What is wrong with it, in words; "" where nothing is."""


@runtime_checkable
class Model(Protocol):
    """What all families share."""

    name: str
    """family:weights@revision, as recorded in scenes and manifest."""


@runtime_checkable
class Resizable(Protocol):
    """Beside its task: a model that can be given batches of another size; `Batched` is one."""

    def with_batch_size(self, batch_size: int) -> Self:
        """The same networks, for at most so many pictures at once: nothing is loaded again."""
        ...


@runtime_checkable
class Captioner(Model, Protocol):
    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image."""
        ...


@runtime_checkable
class PhraseCaptioner(Captioner, Protocol):
    def describe(
        self, images: Sequence[Image], *, instruction: str, max_phrases: int
    ) -> list[Description]:
        """A caption as the instruction asks for, and the objects in it, an image.

        Parameters
        ----------
        instruction:
            What to write, in words for a person; in which form to answer, the model adds.
        max_phrases:
            Objects that are named, at most.
        """
        ...


@runtime_checkable
class Grounder(Model, Protocol):
    def ground(
        self,
        images: Sequence[Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        """Find each image's phrases (lower-cased and joined by " . " for the model)."""
        ...


@runtime_checkable
class Segmenter(Model, Protocol):
    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """A mask for each box; one image embedding serves all boxes of an image."""
        ...


@runtime_checkable
class ProposingSegmenter(Segmenter, Protocol):
    def segment_best(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """For each box the one of the model's proposals (a part, the whole, more than it) whose
        IoU it predicts highest; `segment` gives the mask that it means to be unambiguous."""
        ...


@runtime_checkable
class ImageEmbedder(Model, Protocol):
    def embed(
        self, images: Sequence[Image], masks: Sequence[NDArray[np.bool_] | None] | None = None
    ) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised.

        With a mask: the mean of the patch tokens under it (released pipeline, flexible subset);
        without: the whole-image feature (class token).
        """
        ...


@runtime_checkable
class ImageTextScorer(Model, Protocol):
    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised, in the same space as the images."""
        ...


@runtime_checkable
class Drawer(Model, Protocol):
    def draw(self, requests: Sequence[DrawRequest], *, settings: GeneratorSettings) -> list[Image]:
        """A picture of each request's size; the same request gives the same picture."""
        ...


@runtime_checkable
class Editor(Model, Protocol):
    def edit(self, requests: Sequence[EditRequest], *, settings: GeneratorSettings) -> list[Image]:
        """A picture of each request's size; the same request gives the same picture."""
        ...


@runtime_checkable
class Composer(Model, Protocol):
    def compose(
        self, requests: Sequence[ComposeRequest], *, settings: GeneratorSettings
    ) -> list[Image]:
        """A picture of each request's size; the same request gives the same picture."""
        ...


@runtime_checkable
class FaceAnalyser(Model, Protocol):
    def find_faces(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces of each image, largest first."""
        ...


@runtime_checkable
class AestheticsJudge(Model, Protocol):
    def judge_aesthetics(self, images: Sequence[Image]) -> list[float]:
        """The mean opinion that people would have of each picture, 1 (worst) to 10."""
        ...


@runtime_checkable
class PreferenceJudge(Model, Protocol):
    def judge_preference(self, images: Sequence[Image], captions: Sequence[str]) -> list[float]:
        """How well people would like each picture for its caption; larger is better, no unit."""
        ...


@runtime_checkable
class PictureAnswerer(Model, Protocol):
    def answer(
        self, images: Sequence[Image], questions: Sequence[str], *, verbatim: bool = False
    ) -> list[PictureAnswer]:
        """Yes or no, and why, to the question about each picture.

        Parameters
        ----------
        verbatim:
            Put the questions just as they stand, which say themselves how to answer: with yes or
            no, in a word, as benchmarks ask. An answer that says neither is a no.
        """
        ...


TASKS: Final[dict[type[Any], Task]] = {
    Captioner: "caption",
    Grounder: "ground",
    Segmenter: "segment",
    ImageEmbedder: "embed images",
    ImageTextScorer: "score image and text",
    Drawer: "draw pictures",
    Editor: "edit pictures",
    Composer: "compose pictures",
    FaceAnalyser: "find faces",
    AestheticsJudge: "judge pictures",
    PreferenceJudge: "judge pictures and captions",
    PictureAnswerer: "answer about pictures",
}
"""What a family is there to do when its class obeys a protocol."""

"""What every stage is, and how it says what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Literal, get_args, get_origin

from typing_extensions import TypeVar

from imig.models.protocols import Model, Resizable
from imig.recipe.parts import EndpointConfig, ModelConfig, RecipePart, StageConfig
from imig.sample import Sample
from imig.schema import ModelRecord, Subset
from imig.stages.absurdity import first_absurdity
from imig.stages.loading import connect, load_as, record_of

Word = Literal[
    "target", "caption", "nouns", "subjects", "boxes", "grounded masks", "masks", "references",
    "drawn views", "edited views", "views", "scores", "verdict",
]  # fmt: skip
"""What stages read and write."""

WORDS: Final[dict[Word, str]] = {
    "target": "the picture that the scene is about",
    "caption": "the scene's text",
    "nouns": "noun phrases to look for in the target",
    "subjects": "what a prompt wants drawn, each with a prompt of its own (flexible)",
    "boxes": "instances with their boxes in the target",
    "grounded masks": "a mask with each box, where the model that found it gives both",
    "masks": "the instances' visible parts, and their order in depth",
    "references": "at least one picture of each instance's identity",
    "drawn views": "pictures of subjects alone, their subject not yet found in them (flexible)",
    "edited views": "edited references, their subject not yet found in them (complex)",
    "views": "drawn or edited views with the subject's box and mask",
    "scores": "figures of scenes, instances and references, for the filter",
    "verdict": "who stays",
}
"""What the words stand for."""


@dataclass(frozen=True)
class BuildContext:
    """What a stage may know about the build it is part of."""

    recipe_seed: int
    subset: Subset
    output: Path | None = None
    """The dataset's folder, where the build has one."""
    given: frozenset[Word] = frozenset()
    """What the source writes: a stage that would find it anew is skipped."""


@dataclass(frozen=True)
class Uses:
    """Beside a config's field that names a model: what the stage wants of it.

    ``model: Annotated[ModelConfig, Uses(Captioner)]`` is all that a stage says of its model: the
    plan finds the weights and checks that the family can do it, and `Stage.setup` loads it.
    """

    protocol: type[Any]
    """Of `imig.models.protocols`. (A type checker takes no protocol for a class, hence Any.)"""


@dataclass(frozen=True)
class ModelUse:
    """A field of a config that names a model, and what it says."""

    field: str
    protocol: type[Any]
    config: ModelConfig | EndpointConfig


def model_uses(config: RecipePart) -> Iterator[ModelUse]:
    """The models that a recipe's block names, in the order of its fields; nulls are left out."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        for use in field.metadata:
            if isinstance(use, Uses) and value is not None:
                yield ModelUse(field=name, protocol=use.protocol, config=value)


def loaded(*fields: str, optional: bool = False) -> Any:
    """In a stage's class: the model that the first of these fields names, once it is loaded.

    ``captioner: Captioner = loaded("model")``. With `optional` it is None where none is named.
    """
    return _Loaded(fields, optional)


@dataclass(frozen=True)
class _Loaded:
    fields: tuple[str, ...]
    optional: bool

    def __get__(self, stage: Stage | None, owner: type[Any]) -> Any:
        if stage is None:
            return self
        found = [stage.loaded[field] for field in self.fields if field in stage.loaded]
        if found or self.optional:
            return found[0] if found else None
        raise RuntimeError(f"{owner.__name__}: setup() comes first")


def type_argument(kind: type, generic: type, *, default: type) -> Any:
    """X of ``class Kind(Generic[X])``, of the class itself or the nearest above that says it."""
    for one in kind.__mro__:
        for base in vars(one).get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, generic):
                return get_args(base)[0]
    return default


ConfigT = TypeVar("ConfigT", bound=StageConfig, default=StageConfig, covariant=True)


class Stage(ABC, Generic[ConfigT]):
    """A step that takes a batch of samples and returns the same samples, changed in place.

    A stage is constructed cheaply on the driver (the plan reads its declarations), sent to a
    worker, and loads its models there in `setup`. It never adds, drops or reorders samples: it
    turns one down with `Sample.turn_down`. It may raise; the engine then finds the sample that made
    it raise.

    `reads` and `writes` are checked before anything runs. They may depend on the recipe (a list of
    images has captions or has none), so ask the instance, not the class.

    Parameters
    ----------
    config:
        The stage's block of the recipe.
    models:
        By the config's fields: used instead of what these name, which is then never loaded.
    """

    name: ClassVar[str]
    reads: frozenset[Word] = frozenset()
    writes: frozenset[Word] = frozenset()

    def __init__(
        self,
        config: ConfigT,
        context: BuildContext,
        *,
        models: Mapping[str, Model] | None = None,
    ) -> None:
        self.config = config
        self.context = context
        self.key = self.name
        """Where the block stands in the recipe."""
        self.loaded: dict[str, Any] = dict(models or {})
        """Models by the config's fields that name them."""
        self.prepare()

    def prepare(self) -> None:
        """What can be known from `config` and `context` alone: what is read and written, say."""

    @classmethod
    def config_type(cls) -> Any:
        """What the stage's block of a recipe may say: X of ``class MyStage(Stage[X])``.

        `StageConfig` for a stage without settings of its own: ``class MyStage(Stage)``.
        """
        return type_argument(cls, Stage, default=StageConfig)

    def setup(self) -> None:
        """Load the models that the config names; called once, in the worker."""
        if self.skipped() is not None:
            return
        resources = self.config.resources
        for use in model_uses(self.config):
            key = f"{self.key}.{use.field}"
            if use.field in self.loaded:
                continue
            if isinstance(use.config, EndpointConfig):
                model = connect(use.protocol, use.config, key=key, clients=resources.concurrency)
            else:
                batch_size = resources.first_batch_size()
                model = load_as(use.protocol, use.config, key=key, batch_size=batch_size)
            self.loaded[use.field] = model

    def use_batch_size(self, batch_size: int) -> None:
        """Let the models see so many pictures at once, at most, from now on; nothing is loaded.

        Those without a method `with_batch_size` go on as they are.
        """
        for field, model in self.loaded.items():
            if isinstance(model, Resizable):
                self.loaded[field] = model.with_batch_size(batch_size)

    def models(self) -> list[ModelRecord]:
        """The models that `setup` loads, for the manifest; known without loading them."""
        if self.skipped() is not None:
            return []
        return [record_of(use.config) for use in model_uses(self.config)]

    def skipped(self) -> str | None:
        """Why this stage can do nothing on this machine and passes samples on untouched, or None.

        Asked on the driver, before anything runs; the plan and the manifest say it. May raise
        UsageError.
        """
        return None

    def absurdity(self, sample: Sample) -> str | None:
        """What it has made of a sample that cannot be, in words; None: nothing.

        Asked behind every batch. Such a sample is tried again alone; if that makes no sense
        either, it goes into quarantine. A stage that can tell more asks ``super()`` first.
        """
        return first_absurdity(sample.scene)

    @abstractmethod
    def __call__(self, samples: list[Sample]) -> list[Sample]: ...

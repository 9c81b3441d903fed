"""What every metric is, and how it says what it measures and what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal

from pydantic import Field
from typing_extensions import TypeVar

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.recipe.parts import EndpointConfig, ModelConfig, RecipePart
from imig.stages.base import Uses, model_uses, type_argument
from imig.stages.loading import connect, load_as

Values = Mapping[str, Sequence[float | None]]
"""Figure -> a value for each unit of a picture; None where it does not apply."""


class MetricConfig(RecipePart):
    """What every metric's block may say."""

    batch_size: int = Field(default=8, gt=0, description="Pictures that a model sees at once.")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure that a metric gives of a picture."""

    name: str
    """Of all figures of all metrics; lower case, words joined by underscores."""
    title: str
    """For tables."""
    meaning: str
    """In a sentence, for documentation and pages."""
    unit: Literal["picture", "instance", "question"]
    """What it has a value for; the mean is over all of them, whatever picture they are in."""
    better: Literal["higher", "lower", "neither"] = "higher"
    percent: bool = False
    """Shown times 100."""


ConfigT = TypeVar("ConfigT", bound=MetricConfig, default=MetricConfig, covariant=True)


class Metric(ABC, Generic[ConfigT]):
    """Measures pictures of cases.

    It is made cheaply (the plan reads what it declares), and loads its models in `setup`. What
    its config names with `Uses(protocol)` is found under the field's name in `loaded`, see
    `imig.stages.base.loaded`.

    Parameters
    ----------
    config:
        The metric's block of the recipe.
    loaded:
        By the config's fields: used instead of the models that these name.
    """

    name: ClassVar[str]
    """Also the key of its block in a recipe."""
    measures: ClassVar[tuple[Measure, ...]]
    looks: ClassVar[bool] = False
    """Whether it needs to know where the subjects are (`Seen.found`)."""

    def __init__(self, config: ConfigT, *, loaded: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.loaded: dict[str, Any] = dict(loaded or {})

    @classmethod
    def config_type(cls) -> Any:
        """X of ``class MyMetric(Metric[X])``: what its block of a recipe may say."""
        return type_argument(cls, Metric, default=MetricConfig)

    @abstractmethod
    def lacks(self, case: Case) -> str | None:
        """Why it cannot be measured on a picture of this case ("no references"), or None."""

    def unset(self) -> str | None:
        """Why it measures nothing with this config, whatever the case, or None.

        Raises
        ------
        UsageError
            The config is one that nothing may be measured with.
        """
        named = {one.field for one in model_uses(self.config)}
        wanted = [
            name
            for name, field in type(self.config).model_fields.items()
            if any(isinstance(one, Uses) for one in field.metadata)
        ]
        if not wanted or named or self.loaded:
            return None
        keys = " or ".join(f"{self.name}.{one}" for one in wanted)
        return f"the recipe names no model for it ({keys})"

    def setup(self) -> None:
        """Load the models that the config names. Raises UsageError when one cannot be."""
        load_models(self.config, self.loaded, key=self.name, batch_size=self.config.batch_size)

    @abstractmethod
    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        """The values of each picture, all `measures` of them."""


def load_models(config: RecipePart, loaded: dict[str, Any], *, key: str, batch_size: int) -> None:
    """Load what a block names into `loaded`, by field, where it is not there yet."""
    for use in model_uses(config):
        if use.field in loaded:
            continue
        where = f"{key}.{use.field}"
        if isinstance(use.config, EndpointConfig):
            loaded[use.field] = connect(use.protocol, use.config, key=where, clients=1)
        else:
            assert isinstance(use.config, ModelConfig)
            loaded[use.field] = load_as(use.protocol, use.config, key=where, batch_size=batch_size)

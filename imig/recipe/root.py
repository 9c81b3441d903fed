"""The recipe of a build: which stages run, with which models and thresholds.

A recipe is a YAML file; this module says what may stand in it and what it means. A stage takes part
in a build when its key is present; the order is always that of `imig.stages.order`, and what may
stand in its block is said in the stage's own file. `imig.recipe.file` reads recipes from disk and
turns what pydantic finds wrong into errors that name file, line and the nearest right key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)

from imig.duplicates.config import DuplicatesConfig
from imig.recipe.parts import Fraction, Means, RecipePart, StageConfig
from imig.schema import Subset
from imig.stages.order import STAGES
from imig.stages.sources.config import SourceConfig
from imig.stages.write import WriteConfig

STAGE_NAMES: Final = tuple(STAGES)
"""Every stage, once."""


class EngineConfig(RecipePart):
    """How the build runs; but for the last bits of a figure it changes nothing in what is built."""

    block_size: int = Field(
        default=8,
        gt=0,
        description="Scenes that travel through the stages together: the unit of work and resume.",
    )
    max_error_rate: Annotated[Fraction, Means()] = Field(
        default=0.05, description="Quarantined share of the scenes seen above which a build stops."
    )
    fuse: Annotated[Literal["auto", "never", "always"], Means()] = Field(
        default="auto",
        description="Stages that share worker processes. `auto`: where models are small, one "
        "worker a core (a few a GPU) carries all stages; `imig build --plan` shows it.",
    )
    patience: Annotated[float, Means()] = Field(
        default=60.0,
        ge=0,
        description="Seconds that faults of the system (a full disk, an I/O error, a network that "
        "is gone) are waited for, with growing pauses.",
    )
    ray_address: Annotated[str | None, Means()] = Field(
        default=None, description="A running cluster (`auto`, `ray://host:10001`); null: start one."
    )


class ExtraStage(RecipePart):
    """A stage from outside imig, by its place in the order; the other keys are its own settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    stage: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`package.module:Class`, a `imig.stages.base.Stage`; see docs/extending.md.",
    )
    after: str = Field(
        description="The stage behind which it runs, by its name; of several, in the order of the "
        "recipe."
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that are its own."""
        return dict(self.model_extra or {})

    def with_settings(self, config: StageConfig) -> ExtraStage:
        """The same stage with all of its settings, defaults included."""
        return ExtraStage(
            stage=self.stage,
            after=self.after,
            **config.model_dump(mode="json", by_alias=True),
        )


class _Head(RecipePart):
    """What a recipe says beside its stages."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    subset: Subset = "basic"
    seed: int = Field(default=0, ge=0)
    models: str | None = Field(
        default=None,
        description="Weights for every model of the recipe; `tiny` asks for no GPU, and applies "
        "the block `tiny`.",
    )
    engine: EngineConfig = EngineConfig()
    tiny: dict[str, Any] = Field(
        default_factory=dict,
        description="What `models: tiny` changes beside the weights: dotted keys and their values.",
    )
    extra: tuple[ExtraStage, ...] = Field(
        default=(), description="Stages from outside imig. They are imported when the build begins."
    )
    duplicates: DuplicatesConfig | None = None

    @model_serializer(mode="wrap")
    def _without_default(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A recipe without stages from outside keeps the checksum that it had before there were any.
        values: dict[str, Any] = serialize(self)
        if not self.extra:
            del values["extra"]
        return values


_ALWAYS: Final[dict[str, tuple[Any, Any]]] = {
    "source": (SourceConfig, ...),
    "write": (WriteConfig, WriteConfig()),
}
"""Blocks of stages that take part in every build; the others are null where they do not."""

if TYPE_CHECKING:

    class Recipe(_Head):
        """A build from beginning to end."""

        source: SourceConfig
        write: WriteConfig

        def __getattr__(self, name: str) -> Any:
            """A stage's block, by the stage's name."""

else:
    Recipe = create_model(
        "Recipe",
        __base__=_Head,
        __doc__="A build from beginning to end.",
        __module__=__name__,
        **{
            name: _ALWAYS.get(name, (stage.config_type() | None, None))
            for name, stage in STAGES.items()
        },
    )

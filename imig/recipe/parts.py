"""What the blocks of a recipe share: models, endpoints, and what workers take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from imig.printable import shortened
from imig.schema import Licence

Fraction = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]


class RecipePart(BaseModel):
    """What people write into files: keys that are not known are errors, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Means:
    """Beside a field: it says how, where or how fast the work is done, and never what comes out.

    A build goes on when such a field has changed since it was begun; every other field belongs to
    its identity (`imig.recipe.identity`).
    """


def means_of(part: type[BaseModel]) -> frozenset[str]:
    """The fields of a block that are marked as `Means`."""
    return frozenset(
        name
        for name, field in part.model_fields.items()
        if any(isinstance(one, Means) for one in field.metadata)
    )


class ModelConfig(RecipePart):
    """A model family and its weights."""

    family: str
    weights: str = Field(
        default="tiny", description="`tiny`, a local path, or a hub id (`owner/name[@revision]`)."
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`, ...")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="`auto`: float32 on a CPU, bfloat16 on a GPU."
    )
    config: str | None = Field(
        default=None, description="Config file, for families whose weights come without one."
    )
    offload: Literal["none", "model", "sequential"] = Field(
        default="none",
        description="Generators on a GPU: keep in its memory everything, the network at work, or "
        "the layer at work.",
    )


class EndpointConfig(RecipePart):
    """A language or vision-language model behind an OpenAI-compatible server."""

    url: Annotated[str, Means()] = Field(
        default="http://localhost:8000/v1",
        description="Base URL: vLLM, Ollama (`http://localhost:11434/v1`), or a hosted one.",
    )
    model: str = Field(description="The model's name at that server.")
    key_variable: Annotated[str, Means()] = Field(
        default="OPENAI_API_KEY",
        description="Environment variable that holds the key; the key itself is never stored. "
        "Where it is not set, none is sent.",
    )
    concurrency: Annotated[int, Means()] = Field(
        default=8, gt=0, description="Requests under way at once."
    )
    requests_per_minute: Annotated[float | None, Means()] = Field(default=None, gt=0)
    timeout_seconds: Annotated[float, Means()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, Means()] = Field(
        default=6, ge=0, description="Of a request that failed for the server's reasons."
    )
    backoff_seconds: Annotated[float, Means()] = Field(
        default=1.0, gt=0, description="Wait before the first retry; it doubles each time."
    )
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: Annotated[int | None, Means()] = Field(
        default=None,
        gt=0,
        description="Of an answer, the model's thoughts included; null: the server's own limit. An "
        "answer that breaks off is asked for again with more.",
    )
    price_per_million_input: Annotated[float | None, Means()] = Field(
        default=None, ge=0, description="Of tokens sent, in any currency: the cost is then shown."
    )
    price_per_million_output: Annotated[float | None, Means()] = Field(default=None, ge=0)


StatedLicence = Annotated[
    Licence | None,
    Field(
        exclude_if=lambda licence: licence is None,
        description="Of the pictures: an SPDX identifier (`CC-BY-4.0`), or free text with an "
        "address. What a list or a sample's JSON says of one picture comes before it.",
    ),
]
"""Of a source. Left out of the recipe's checksum where nothing is stated."""


def require_endpoint_or_model(endpoint: EndpointConfig | None, model: ModelConfig | None) -> None:
    """ValueError, for pydantic to pass on, unless a block names one of the two."""
    if (endpoint is None) == (model is None):
        raise ValueError("give either an endpoint or a model, and null for the other")


ENDPOINT_MARK: Final = "key_variable"
"""The key by which an endpoint is known among a recipe's JSON values."""


AUTO: Final = "auto"


def _to_batch_size(value: object) -> object:
    """For pydantic, which would say of each kind apart what is wrong."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value == AUTO or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"expected a whole number above 0, or {AUTO!r}, got {shortened(repr(value))}")


BatchSize = Annotated[
    Annotated[int, Field(gt=0)] | Literal["auto"], BeforeValidator(_to_batch_size)
]


class Resources(RecipePart):
    """What the workers of a stage take; the engine hands these figures to Ray."""

    batch_size: BatchSize = Field(
        default=8,
        description="Scenes a model sees at once. `auto`: a whole block, halved until it fits into "
        "the GPU's memory; the manifest says what was found.",
    )
    concurrency: Annotated[int, Means()] = Field(
        default=1, gt=0, description="Workers of this stage."
    )
    cpus: Annotated[float, Means()] = Field(default=1.0, ge=0, description="CPUs a worker.")
    gpus: Annotated[float, Means()] = Field(
        default=0.0, ge=0, description="GPUs a worker; fractions share a GPU."
    )
    custom: Annotated[dict[str, Annotated[float, Field(gt=0)]], Means()] = Field(
        default_factory=dict,
        exclude_if=lambda custom: not custom,
        description="What else a worker takes of its node, by the names that `ray start "
        "--resources` gave: `{big: 1}` lets the stage run on such nodes only.",
    )
    timeout: Annotated[float, Means()] = Field(
        default=3600.0,
        gt=0,
        description="Seconds that a batch may take, and the loading of the models: a worker that "
        "takes longer is ended, and the scene that holds it up is found and quarantined.",
    )

    def first_batch_size(self, block_size: int = 8) -> int:
        """With which batch size a stage begins; `auto` is as many scenes as there are in a block.

        More never come together. Outside of a build it is 8, as blocks are where nobody says.
        """
        return block_size if self.batch_size == AUTO else self.batch_size

    @field_validator("custom")
    @classmethod
    def _not_what_has_a_key(cls, custom: dict[str, float]) -> dict[str, float]:
        for name in custom:
            if name.lower() in ("cpu", "gpu", "memory", "object_store_memory"):
                raise ValueError(f"{name!r} is no custom resource: give `cpus` and `gpus`")
        return custom


class StageConfig(RecipePart):
    """What every stage's block may say."""

    resources: Resources = Resources()

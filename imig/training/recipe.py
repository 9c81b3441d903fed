"""The training recipe: model, adapter, data, objective, optimizer, and what is written when.

A YAML file like a build's recipe (`imig.recipe`), read by `imig.training.recipe_file`,
which names file and line of what is wrong. Constants come from the released trainer (REFERENCE 3.5)
where the comment says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field, ValidationInfo, field_validator, model_validator

from imig.contextgen.settings import AttentionConfig
from imig.recipe.parts import Fraction, RecipePart

INSTRUCTION = (
    "Paint this as one natural picture. Every subject stays where the layout has it and keeps its "
    "identity: {caption}"
)
"""The caption as an edit instruction; the wording is ours (the released one is a setting too)."""


class WeightsConfig(RecipePart):
    """FLUX, its VAE and its text encoders, in the folder layout of diffusers."""

    weights: str = Field(
        default="tiny", description="`tiny`, a local path, or a hub id (`owner/name[@revision]`)."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Of the frozen weights; `auto`: float32 on a CPU, bfloat16 on a GPU. Adapter "
        "and losses are float32 always.",
    )


class AdapterConfig(RecipePart):
    """LoRA on the released trainer's targets."""

    rank: int = Field(
        default=512,
        gt=0,
        description="Released trainer: 512. With `start`: the file's, or an error.",
    )
    alpha: float = Field(
        default=512,
        gt=0,
        description="Released trainer: 512. With `start`: the file's, or an error.",
    )
    start: str | None = Field(
        default=None,
        description="Adapter to start from, a file or PEFT's folder; with DPO it is the reference "
        "too.",
    )


class CacheConfig(RecipePart):
    """Shards of remote datasets on a disk of this machine, fetched ahead of the training."""

    folder: str = Field(
        description="On a local disk; all trainings and processes of a machine may share one."
    )
    size: ByteSize = Field(
        description="The most that it holds, in bytes or as `200GB`, `64GiB`: the least recently "
        "used shards give way. At least the largest shard; some 20 of them for each subset "
        "keep the order of reading from fetching a shard twice in an epoch.",
    )


class DataConfig(RecipePart):
    """How scenes become samples."""

    target_width: int = Field(
        default=768, ge=64, multiple_of=16, description="Pixels; released trainer: 768."
    )
    reference_side: int = Field(
        default=512,
        ge=16,
        description="References are scaled to about this squared in area (released trainer: 512).",
    )
    max_references: int = Field(default=8, gt=0, le=60)
    caption_dropout: Fraction = Field(default=0.2, description="Released trainer: 0.2.")
    edit_probability: Fraction = Field(
        default=0.5, description="An edit instead of the crop, where there is one (released: 0.5)."
    )
    face_probability: Fraction = Field(
        default=0.75, description="The aligned face, where there is one (released: 0.75)."
    )
    instruction: str = Field(
        default=INSTRUCTION, description="What the text encoders get; `{caption}` stands in it."
    )
    subset_weights: dict[str, float] = Field(
        default={"basic": 7.5, "complex": 7.5, "flexible": 1.0},
        description="Odds of the subsets that the shards hold (released: basic + complex 15 : 1).",
    )
    validation_fraction: Fraction = Field(
        default=0.02, description="Scenes held out, chosen by their ids' hashes."
    )
    max_validation: int = Field(default=64, ge=0, description="Of them, this many are measured.")
    bucket_window: int = Field(
        default=64,
        gt=0,
        description="Batches whose samples are sorted by length together, so that a batch holds "
        "samples of about one length.",
    )
    workers: int = Field(default=0, ge=0, description="Processes that prepare samples ahead.")
    max_damaged: int = Field(
        default=0,
        ge=0,
        description="Damaged samples that are left out, and named in skipped.json, before one more "
        "stops the training; 0: the first one does. A disk or a store that does not answer stops "
        "it always.",
    )
    cache: CacheConfig | None = Field(
        default=None,
        description="Where shards of remote datasets are kept; without it every sample is read "
        "from its address. Local datasets do not use it.",
    )

    @model_validator(mode="after")
    def _checks(self) -> DataConfig:
        if "{caption}" not in self.instruction:
            raise ValueError("instruction must have {caption} in it")
        if not self.subset_weights or min(self.subset_weights.values()) < 0:
            raise ValueError("subset_weights must be numbers of 0 or more")
        return self


class FlowObjective(RecipePart):
    """Flow matching on the target's tokens (REFERENCE 3.5)."""

    kind: Literal["flow"] = "flow"
    timesteps: Literal["logit-normal", "uniform"] = Field(
        default="logit-normal", description="t = sigmoid(N(mean, deviation)), or uniform."
    )
    mean: float = 0.0
    deviation: float = Field(default=1.0, gt=0)
    guidance: float = Field(default=1.0, description="Released trainer: 1.")


class DpoObjective(RecipePart):
    """Diffusion-DPO: the target is preferred to the layout image (REFERENCE 3.5)."""

    kind: Literal["dpo"]
    beta: float = Field(default=1000.0, gt=0, description="Paper table 4: 1000 is best.")
    timesteps: Literal["logit-normal", "uniform"] = "logit-normal"
    mean: float = 0.0
    deviation: float = Field(default=1.0, gt=0)
    guidance: float = 1.0


Objective = Annotated[FlowObjective | DpoObjective, Field(discriminator="kind")]


class OptimizerConfig(RecipePart):
    """Prodigy for the supervised phase, AdamW at 1e-5 for DPO (released trainer)."""

    kind: Literal["prodigy", "adamw", "adamw8bit"] = "prodigy"
    learning_rate: float = Field(default=1.0, gt=0, description="Prodigy finds its own: leave 1.")
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    slice_p: int = Field(
        default=1, gt=0, description="Prodigy: keep one in so many of its statistics in memory."
    )
    clip: float = Field(default=0.5, gt=0, description="Largest gradient norm (released: 0.5).")


class SavingConfig(RecipePart):
    """Checkpoints and the adapter's file."""

    every: int = Field(default=500, gt=0, description="Steps.")
    keep: int = Field(default=2, gt=0, description="The last so many checkpoints stay.")
    dtype: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description="Of `adapter.safetensors` (rank 512 on FLUX.1: 3.7 GB, in float32 7.4). "
        "Checkpoints have float32 always.",
    )


class WatchConfig(RecipePart):
    """What one sees of a training."""

    log_every: int = Field(default=10, gt=0)
    validate_every: int = Field(default=500, ge=0, description="Steps; 0: never.")
    picture_every: int = Field(default=500, ge=0, description="Steps; 0: never.")
    pictures: int = Field(default=4, ge=0, description="Fixed held-out layouts that are drawn.")
    sampling_steps: int = Field(default=28, gt=0)
    wandb: bool = Field(default=False, description="Also to Weights & Biases, when installed.")


class TrainRecipe(RecipePart):
    """A training from beginning to end."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    model: WeightsConfig = WeightsConfig()
    attention: AttentionConfig = AttentionConfig()
    adapter: AdapterConfig = AdapterConfig()
    data: DataConfig = DataConfig()
    objective: Objective = FlowObjective()
    optimizer: OptimizerConfig = OptimizerConfig()
    steps: int = Field(default=5000, gt=0, description="Optimizer steps (released trainer: 5K).")
    batch_size: int = Field(default=4, gt=0, description="Samples of one process at a time.")
    accumulate: int = Field(
        default=1,
        gt=0,
        description="Batches whose gradients make one step; the step's batch is "
        "batch_size x accumulate x processes.",
    )
    samples_per_step: int | None = Field(
        default=None,
        gt=0,
        description="The step's batch, in place of `accumulate`: every number of processes that "
        "divides it trains the same steps, in batches of at most `batch_size`.",
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`.")
    checkpoint_blocks: Fraction = Field(
        default=1.0,
        description="Share of the blocks, evenly spread, that are recomputed in the backward pass.",
    )
    compile: bool = Field(default=False, description="torch.compile the repeated blocks (a GPU).")
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="What torchrun's processes share: gradients, or weights too."
    )
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of a moving average of the adapter."
    )
    saving: SavingConfig = SavingConfig()
    watch: WatchConfig = WatchConfig()

    @field_validator("samples_per_step")
    @classmethod
    def _in_place_of_accumulate(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("accumulate", 1) != 1:
            raise ValueError(
                "accumulate follows from it: give one of the two (accumulate 1 is none)"
            )
        return value

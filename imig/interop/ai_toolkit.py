"""Format `ai-toolkit`: targets, captions and control folders for ostris/ai-toolkit.

::

    2-references/target/<id>.jpg, <id>.txt     picture and caption
    2-references/control1/<id>.jpg             the first reference, under the target's name
    2-references/control2/<id>.jpg
    2-references/mask/<id>.png                 white where a subject is; --set masks=true
    config.yaml                                a job with these folders as its datasets

Its loader takes from each folder of `control_path` the picture that is named as the target is, and
closes up where there is none: hence a dataset for each number of references.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings
from imig.interop.reference_groups import (
    choose_references,
    count_groups,
    group_of,
    subjects_mask,
)
from imig.interop.yaml_text import yaml_text
from imig.sample import mask_to_png
from imig.shards.views import SceneView

CONFIG_NAME: Final = "config.yaml"


class AiToolkitSettings(FormatSettings):
    """What `--set` may say of it."""

    max_references: int = Field(
        default=3, ge=0, description="of a scene; Qwen-Image-Edit-2509 takes three."
    )
    masks: bool = Field(
        default=False, description="write masks of the subjects, for a loss that looks at them."
    )
    resolution: list[int] = Field(
        default=[512, 768, 1024], min_length=1, description="of the buckets, in config.yaml."
    )
    root: str | None = Field(
        default=None,
        description="of the paths in config.yaml, where the folder will lie elsewhere.",
    )


class AiToolkitExporter(Exporter[AiToolkitSettings]):
    """Writes folders of pictures with equal names."""

    settings_type = AiToolkitSettings

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> int:
        """The scene's pictures and caption; gives its number of references."""
        record = scene.record
        chosen = choose_references(scene, limit=self.settings.max_references, losses=folder.losses)
        group = group_of(len(chosen))
        folder.write(f"{group}/target/{record.id}.jpg", scene.files[record.target])
        folder.write(f"{group}/target/{record.id}.txt", record.caption.encode())
        for number, one in enumerate(chosen, 1):
            folder.write(f"{group}/control{number}/{record.id}.jpg", scene.files[one.record.image])
        if self.settings.masks:
            folder.write(f"{group}/mask/{record.id}.png", mask_to_png(subjects_mask(scene)))
        if record.instances:
            folder.losses.note("boxes and phrases", f"{record.id}: {record.instances[0].phrase}")
            if not self.settings.masks:
                folder.losses.note("masks", f"{record.id}: --set masks=true writes them")
        return len(chosen)

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """Write the job."""
        root = self.settings.root or str(folder.path.resolve())
        datasets = "".join(
            self._dataset(f"{root}/{group_of(count)}", count, scenes)
            for count, scenes in count_groups(rows)
        )
        name = yaml_text(self.dataset.manifest.name)
        folder.write(CONFIG_NAME, _JOB.format(name=name, datasets=datasets.rstrip()).encode())

    def _dataset(self, group: str, count: int, scenes: int) -> str:
        lines = [f"# {scenes} scenes", f"- folder_path: {yaml_text(f'{group}/target')}"]
        if count:
            lines += ["  control_path:"]
            lines += [
                f"    - {yaml_text(f'{group}/control{number}')}" for number in range(1, count + 1)
            ]
        else:
            lines += ["  # no references: leave it out where the model cannot do without"]
        if self.settings.masks:
            lines += [f"  mask_path: {yaml_text(f'{group}/mask')}"]
            lines += ["  mask_min_value: 0.1  # weight of what is not a subject"]
        lines += ['  caption_ext: "txt"', "  caption_dropout_rate: 0.05"]
        lines += [f"  resolution: {self.settings.resolution}"]
        return "".join(f"        {line}\n" for line in lines)


_JOB: Final = """\
# A job for ai-toolkit: python run.py config.yaml
job: "extension"
config:
  name: {name}
  process:
    - type: "diffusion_trainer"
      training_folder: "output"
      device: "cuda:0"
      network:
        type: "lora"
        linear: 16
        linear_alpha: 16
      save:
        dtype: "float16"
        save_every: 250
        max_step_saves_to_keep: 4
      # One dataset for each number of references: a batch needs scenes that have as many.
      datasets:
{datasets}
      train:
        batch_size: 1
        steps: 3000
        gradient_checkpointing: true
        noise_scheduler: "flowmatch"
        optimizer: "adamw8bit"
        lr: 1e-4
        dtype: "bf16"
        disable_sampling: true
      # Any model of ai-toolkit that takes several control images.
      model:
        name_or_path: "Qwen/Qwen-Image-Edit-2509"
        arch: "qwen_image_edit_plus"
        quantize: true
        low_vram: true
"""

AI_TOOLKIT: Final = Format(
    name="ai-toolkit",
    summary="ostris/ai-toolkit: targets, captions, control folders, config.yaml",
    exporter=AiToolkitExporter,
)

"""Targets from the built-in procedural world.

Only pixels and style enter a build: caption, boxes and masks are for the stages to find, and the
truth stays outside so that benchmarks can compare.
"""

from __future__ import annotations

from imig.sample import Sample, image_to_jpeg
from imig.schema import Source
from imig.stages.sources.base import SourceKind
from imig.stages.sources.config import TabletopSource


class TabletopPictures(SourceKind):
    """As many scenes as the recipe asks for, each from its sample's seed."""

    def __init__(self, config: TabletopSource) -> None:
        self._config = config

    def count(self) -> int:
        return self._config.count

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="tabletop", seed=seed)

    def fill(self, sample: Sample, number: int) -> None:
        from PIL import Image

        from imig.tabletop import render_scene, sample_scene

        config = self._config
        scene = sample_scene(
            sample.scene.seed,
            width=config.width,
            height=config.height,
            instances=config.instances,
            combinations=config.combinations,
        )
        rendered = render_scene(scene)
        sample.files[sample.scene.target] = image_to_jpeg(Image.fromarray(rendered.image))
        sample.scene.width, sample.scene.height = config.width, config.height
        sample.scene.style = rendered.style

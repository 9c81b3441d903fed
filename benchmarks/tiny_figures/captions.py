"""Figures of `blip`: does a caption name what is there, and as often?"""

from __future__ import annotations

from collections import Counter

from benchmarks.tiny_figures.common import Figure, Options, chunks, draw_scenes, load, pictures
from imig.models.protocols import Captioner
from imig.tabletop import parse_prompt


def measure_captions(options: Options) -> list[Figure]:
    """Captions from pixels: nouns recalled (each as often as it is there), number of things."""
    model: Captioner = load("blip", options)
    figures = []
    for most, bars in ((6, (0.95, 0.90)), (8, (None, None))):
        recalled = named = phrases = right = 0
        scenes = draw_scenes(options.scenes, offset=1_000_000, instances=(2, most))
        for chunk in chunks(scenes, "blip"):
            for scene, caption in zip(chunk, model.caption(pictures(chunk)), strict=True):
                said = parse_prompt(caption)
                nouns = Counter(kind for kind, _, _ in said if kind is not None)
                truth = Counter(instance.noun for instance in scene.instances)
                recalled += (nouns & truth).total()
                named += truth.total()
                full = Counter(i.identity.combination for i in scene.instances)
                phrases += (Counter(said) & Counter(full)).total()
                right += len(said) == len(scene.instances)
        title = f"2-{most} things"
        figures += [
            Figure("blip", f"nouns recalled, {title}", recalled / max(named, 1), bars[0]),
            Figure("blip", f"count right, {title}", right / max(len(scenes), 1), bars[1]),
            Figure("blip", f"phrases recalled, {title}", phrases / max(named, 1)),
        ]
    return figures

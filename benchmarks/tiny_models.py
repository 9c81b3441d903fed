"""Measures the tiny checkpoints on held-out scenes, through the model families.

    python benchmarks/tiny_models.py [--scenes 300] [--only segment-anything] [--json FILE]

Scenes have seeds that no training saw; "novel" figures count only things whose combination of kind,
colour and pattern was never trained on. All models get pictures and prompts as a build gives them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from imig.layout.boxes import clean_boxes, iou
from imig.models.protocols import (
    Captioner,
    GroundedBoxes,
    Grounder,
    ImageEmbedder,
    ImageTextScorer,
    Segmenter,
)
from imig.models.registry import load_model
from imig.recipe import GroundConfig, ModelConfig
from imig.tabletop import RenderedScene, parse_prompt, render_scene, sample_scene
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.scene import Combinations
from imig.tabletop.vocabulary import (
    ALL_COMBINATIONS,
    TRAINED_COMBINATIONS,
    hard_negative,
    is_novel,
    phrase_of,
    split_phrase,
)

FIRST_SEED = 30_000_000
"""Trainings use seeds below 10,000,000; they choose nothing on scenes from here."""
BATCH = 16
NEGATIVES = 2
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Figure:
    """A row of the table; `bar` is None where nothing was promised."""

    family: str
    name: str
    measured: float
    bar: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar


@dataclass(frozen=True)
class Options:
    """What the measurements share."""

    scenes: int
    weights: str
    device: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append")
    parser.add_argument("--weights", default="tiny", help="tiny, or a folder (with --only)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    options = Options(given.scenes, given.weights, given.device)
    figures: list[Figure] = []
    for family in given.only or MEASUREMENTS:
        figures += MEASUREMENTS[family](options)
    table = Table("family", "figure", "bar", "measured", "")
    for figure in figures:
        sign = "<=" if figure.at_most else ">="
        bar = "" if figure.bar is None else f"{sign} {figure.bar:.2f}"
        word = {None: "", True: "yes", False: "NO"}[figure.reached]
        table.add_row(figure.family, figure.name, bar, f"{figure.measured:.3f}", word)
    Console(width=max(Console().width, 100)).print(table)
    if given.json:
        rows = [asdict(figure) | {"reached": figure.reached} for figure in figures]
        report = {"scenes": given.scenes, "weights": given.weights, "figures": rows}
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def draw_scenes(
    count: int, *, offset: int, instances: tuple[int, int] = (2, 8), novel: bool = False
) -> list[RenderedScene]:
    """Held-out scenes; with `novel`, each has at least one combination that was never trained."""
    first = FIRST_SEED + offset
    kind: Combinations = "novel" if novel else "all"
    return [
        render_scene(sample_scene(seed, instances=instances, combinations=kind))
        for seed in range(first, first + count)
    ]


def pictures(scenes: Iterable[RenderedScene]) -> list[Image.Image]:
    """The scenes' images as the families take them."""
    return [Image.fromarray(scene.image) for scene in scenes]


def chunks(scenes: Sequence[RenderedScene], title: str) -> Iterable[Sequence[RenderedScene]]:
    """Scenes in batches, with a progress display."""
    starts = range(0, len(scenes), BATCH)
    for start in track(starts, description=title, transient=True, console=Console(stderr=True)):
        yield scenes[start : start + BATCH]


def load(family: str, options: Options) -> Any:
    """The family's model."""
    config = ModelConfig(family=family, weights=options.weights, device=options.device)
    return load_model(config, batch_size=BATCH)


def boxes_of(scene: RenderedScene) -> NDArray[np.float32]:
    """(n, 4) boxes of the visible parts."""
    return np.array([i.box for i in scene.instances], np.float32).reshape(-1, 4)


def prompt_of(scene: RenderedScene) -> list[str]:
    """All phrases of the scene, then two hard negatives, as the issue's definition says."""
    rng = np.random.default_rng((11, scene.scene.seed))
    phrases = [i.phrase for i in scene.instances]
    for _ in range(NEGATIVES):
        near = str(rng.choice([i.phrase for i in scene.instances]))
        phrases.append(hard_negative(near, phrases, rng))
    return phrases


def ground(model: Grounder, scenes: Sequence[RenderedScene]) -> list[GroundedBoxes]:
    """Answers at the recipe's thresholds, cleaned as the ground stage does."""
    config = GroundConfig()
    orders = [np.random.default_rng((13, s.scene.seed)) for s in scenes]
    prompts = [
        [phrases[i] for i in rng.permutation(len(phrases))]
        for phrases, rng in zip(map(prompt_of, scenes), orders, strict=True)
    ]
    answers = model.ground(
        pictures(scenes),
        prompts,
        box_threshold=config.box_threshold,
        text_threshold=config.text_threshold,
    )
    cleaned = []
    for answer, scene in zip(answers, scenes, strict=True):
        height, width = scene.image.shape[:2]
        kept = clean_boxes(
            answer.boxes,
            answer.scores,
            width=width,
            height=height,
            min_side_fraction=config.min_side_fraction,
            min_area_fraction=config.min_area_fraction,
            nms_iou=config.nms_iou,
            max_boxes=config.max_boxes,
        )
        cleaned.append(
            GroundedBoxes(
                answer.boxes[kept], answer.scores[kept], [answer.phrases[i] for i in kept]
            )
        )
    return cleaned


def match(answer: GroundedBoxes, scene: RenderedScene) -> dict[int, int]:
    """Instance to the box that found it: its phrase, IoU >= 0.5, the best score first."""
    ious = iou(answer.boxes, boxes_of(scene))
    found: dict[int, int] = {}
    for box in np.argsort(-answer.scores, kind="stable"):
        for number, instance in enumerate(scene.instances):
            right = answer.phrases[box] == instance.phrase and ious[box, number] >= MATCH_IOU
            if right and number not in found:
                found[number] = int(box)
                break
    return found


def measure_grounding(options: Options) -> list[Figure]:
    """Boxes: the scene's phrases and two hard negatives in one prompt, thresholds of the recipe."""
    model = load("grounding-dino", options)
    hits = asked = boxes = fired = negatives = novel_hits = novel_asked = 0
    overlaps: list[float] = []
    for novel, count in ((False, options.scenes), (True, options.scenes)):
        scenes = draw_scenes(count, offset=500_000 if novel else 0, novel=novel)
        for chunk in chunks(scenes, "grounding-dino"):
            for scene, answer in zip(chunk, ground(model, chunk), strict=True):
                found = match(answer, scene)
                if novel:
                    for number, instance in enumerate(scene.instances):
                        if is_novel(*split_phrase(instance.phrase)):
                            novel_asked += 1
                            novel_hits += number in found
                    continue
                hits, asked = hits + len(found), asked + len(scene.instances)
                boxes += len(answer.boxes)
                truth = boxes_of(scene)
                overlaps += [float(iou(answer.boxes[b], truth[n])[0, 0]) for n, b in found.items()]
                absent = prompt_of(scene)[len(scene.instances) :]
                negatives += len(absent)
                fired += sum(phrase in answer.phrases for phrase in absent)
    name = "grounding-dino"
    return [
        Figure(name, "recall at IoU 0.5", hits / max(asked, 1), 0.95),
        Figure(name, "precision", hits / max(boxes, 1), 0.90),
        Figure(name, "box IoU", float(np.mean(overlaps)) if overlaps else 0.0, 0.90),
        Figure(name, "false alarms", fired / max(negatives, 1), 0.10, at_most=True),
        Figure(name, "recall, novel combinations", novel_hits / max(novel_asked, 1), 0.90),
    ]


def measure_masks(options: Options) -> list[Figure]:
    """Masks from true boxes, and from the tiny detector's where it found the thing."""
    model: Segmenter = load("segment-anything", options)
    grounder: Grounder = load("grounding-dino", replace(options, weights="tiny"))
    exact: list[float] = []
    detected: list[float] = []
    hidden: list[float] = []
    for chunk in chunks(draw_scenes(options.scenes, offset=0), "segment-anything"):
        images = pictures(chunk)
        truths = [np.stack([i.mask for i in scene.instances]) for scene in chunk]
        answers = model.segment(images, [boxes_of(scene) for scene in chunk])
        for scene, truth, answer in zip(chunk, truths, answers, strict=True):
            values = mask_iou(answer.masks, truth)
            exact += values
            pairs = zip(values, scene.instances, strict=True)
            hidden += [value for value, i in pairs if i.occluded_fraction > 0.05]
        grounded = ground(grounder, chunk)
        found = [match(a, scene) for a, scene in zip(grounded, chunk, strict=True)]
        boxes = [a.boxes[list(f.values())] for a, f in zip(grounded, found, strict=True)]
        answers = model.segment(images, boxes)
        for truth, some, answer in zip(truths, found, answers, strict=True):
            detected += mask_iou(answer.masks, truth[list(some)])
    name = "segment-anything"
    return [
        Figure(name, "mask IoU, true boxes", float(np.mean(exact)), 0.92),
        Figure(name, "mask IoU, detector's boxes", float(np.mean(detected or [0])), 0.92),
        Figure(name, "mask IoU, more than 5 % occluded", float(np.mean(hidden or [0]))),
    ]


def mask_iou(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[float]:
    """IoU of each mask (n, h, w) with its truth."""
    either = np.maximum((masks | truth).sum((1, 2)), 1)
    return [float(value) for value in (masks & truth).sum((1, 2)) / either]


def measure_phrases(options: Options) -> list[Figure]:
    """Crops of things: is their phrase the first of all phrases of tabletop?"""
    model: ImageTextScorer = load("open-clip", options)
    phrases = [phrase_of(*combination) for combination in ALL_COMBINATIONS]
    texts = model.embed_texts(phrases)
    seen: list[float] = []
    hidden: list[float] = []
    unseen: list[float] = []
    for novel in (False, True):
        scenes = draw_scenes(options.scenes, offset=500_000 if novel else 0, novel=novel)
        for chunk in chunks(scenes, "open-clip"):
            for image, scene in zip(pictures(chunk), chunk, strict=True):
                best = (model.embed_images(crops(image, scene)) @ texts.T).argmax(1)
                for place, instance in zip(best, scene.instances, strict=True):
                    right = float(phrases[place] == instance.phrase)
                    if is_novel(*split_phrase(instance.phrase)):
                        unseen.append(right)
                    elif not novel:
                        seen.append(right)
                        if instance.occluded_fraction > 0.05:
                            hidden.append(right)
    name = "open-clip"
    return [
        Figure(name, f"right phrase of {len(phrases)}", float(np.mean(seen)), 0.98),
        Figure(name, "right phrase, more than 5 % occluded", float(np.mean(hidden or [0]))),
        Figure(name, "right phrase, novel combinations", float(np.mean(unseen or [0]))),
    ]


def crops(image: Image.Image, scene: RenderedScene) -> list[Image.Image]:
    """Each instance with a margin of 5 % of its box, as the crop stage cuts it."""
    result = []
    for x1, y1, x2, y2 in boxes_of(scene).tolist():
        dx, dy = 0.05 * (x2 - x1), 0.05 * (y2 - y1)
        left, top = round(max(0, x1 - dx)), round(max(0, y1 - dy))
        right, bottom = round(min(image.width, x2 + dx)), round(min(image.height, y2 + dy))
        result.append(image.crop((left, top, right, bottom)))
    return result


def measure_identities(options: Options) -> list[Figure]:
    """AUC of the cosine: the same identity in another view, against another identity."""
    from imig.tiny.dinov2 import auc
    from imig.tiny.views import VIEW_SIZE, draw_view

    model: ImageEmbedder = load("dinov2", options)
    rng = np.random.default_rng(FIRST_SEED)
    identities: list[Identity] = []
    for _ in range(max(10, options.scenes // 2)):
        kind, colour, pattern = TRAINED_COMBINATIONS[int(rng.integers(len(TRAINED_COMBINATIONS)))]
        # two things of one phrase that differ in their proportions only, and a third, one word away
        identities.append(sample_identity(rng, kind, colour, pattern))
        identities.append(sample_identity(rng, kind, colour, pattern))
        near = split_phrase(hard_negative(phrase_of(kind, colour, pattern), [], rng))
        identities.append(sample_identity(rng, *near))
    sides = (0.0, 30.0, 60.0, 90.0)
    figures = []
    features: dict[str, list[NDArray[np.float32]]] = {"whole crop": [], "under the mask": []}
    for identity in track(
        identities, description="dinov2", transient=True, console=Console(stderr=True)
    ):
        start = float(rng.uniform(0, 360))
        images, masks = [], []
        for side in sides:
            image, mask, box = draw_view(identity, rng, azimuth=start + side)
            x1, y1, x2, y2 = box
            margin = 0.05 * max(x2 - x1, y2 - y1)
            sides_out = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
            a, b, c, d = (min(VIEW_SIZE, max(0, round(v))) for v in sides_out)
            images.append(Image.fromarray(image[b:d, a:c]))
            masks.append(mask[b:d, a:c])
        features["whole crop"].append(model.embed(images))
        features["under the mask"].append(model.embed(images, masks))
    group = np.repeat(np.arange(len(identities)) // 3, len(sides))
    owner = np.repeat(np.arange(len(identities)), len(sides))
    phrase = np.array([identity.phrase for identity in identities])[owner]
    upper = np.triu(np.ones((len(owner), len(owner)), np.bool_), 1)
    same = owner[:, None] == owner[None]
    kin = group[:, None] == group[None]
    alike = phrase[:, None] == phrase[None]
    others = {
        "another identity": ~kin,
        "another identity one word away": kin & ~alike,
        "another identity of the same phrase": kin & alike & ~same,
    }
    for name, parts in features.items():
        stacked = np.concatenate(parts)
        cosine = stacked @ stacked.T
        for title, negative in others.items():
            value = auc(cosine[same & upper], cosine[negative & upper])
            bar = 0.98 if title == "another identity" else None
            figures.append(Figure("dinov2", f"AUC, {name}, against {title}", value, bar))
    return figures


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


MEASUREMENTS: dict[str, Callable[[Options], list[Figure]]] = {
    "grounding-dino": measure_grounding,
    "segment-anything": measure_masks,
    "open-clip": measure_phrases,
    "dinov2": measure_identities,
    "blip": measure_captions,
}


if __name__ == "__main__":
    raise SystemExit(main())

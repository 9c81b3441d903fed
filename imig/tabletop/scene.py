"""Scenes of the tabletop world: sampling, drawing, and their exact ground truth."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import captions, render, vocabulary
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.render import LIGHTINGS, Posed, Stage, draw, yaw_matrix
from imig.tabletop.shapes import build_thing
from imig.tabletop.surfaces import Backdrop

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
Combinations = Literal["all", "trained", "novel"]
Motion = Literal["still", "tilted", "airborne", "blurred"]

COUNT_WEIGHTS: dict[int, float] = {
    1: 0.10, 2: 0.18, 3: 0.22, 4: 0.20, 5: 0.16, 6: 0.10, 7: 0.08, 8: 0.06,
}  # fmt: skip
MIN_VISIBLE_FRACTION = 0.40
"""Of its full mask, an instance keeps at least this much visible."""
MIN_VISIBLE_AREA = 0.003
"""An instance's visible mask covers at least this much of the image."""

# the largest and smallest extent of a thing, as a part of the image side, by number of things
_SIZES: dict[int, tuple[float, float]] = {
    1: (0.40, 0.60), 2: (0.28, 0.45), 3: (0.25, 0.42), 4: (0.22, 0.38), 5: (0.20, 0.34),
    6: (0.19, 0.31), 7: (0.18, 0.285), 8: (0.17, 0.265),
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Where a thing stands: its foot point (x to the right, y away), turn and size.

    Scene units: the short side of the image is 2. `scale` is the size of the thing's unit.
    """

    identity: Identity
    position: tuple[float, float]
    yaw_degrees: float
    scale: float


@dataclass(frozen=True)
class TabletopScene:
    """All parameters of one picture, no pixels. The same scene always gives the same bytes."""

    seed: int
    width: int
    height: int
    style: str
    backdrop: Backdrop
    camera_elevation: float
    light_azimuth: float
    light_elevation: float
    placements: tuple[Placement, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; `from_json` gives an equal scene back."""
        data = asdict(self)
        data["placements"] = [
            {**asdict(p), "position": list(p.position), "identity": p.identity.to_json()}
            for p in self.placements
        ]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TabletopScene:
        """The scene that `to_json` wrote; raises KeyError, TypeError or ValueError for bad data."""
        placements = tuple(
            Placement(
                identity=Identity.from_json(p["identity"]),
                position=(p["position"][0], p["position"][1]),
                yaw_degrees=p["yaw_degrees"],
                scale=p["scale"],
            )
            for p in data["placements"]
        )
        return cls(**{**data, "backdrop": Backdrop(**data["backdrop"]), "placements": placements})


@dataclass
class InstanceTruth:
    """The ground truth of one instance. Boxes are (x1, y1, x2, y2), x2 and y2 exclusive.

    `box` bounds the visible `mask`, `full_box` the `full_mask` (as if nothing stood in front);
    both masks are bool, height x width. `layer` 0 is the farthest, drawn first.
    `occluded_fraction` = 1 - visible / full area.
    """

    identity: Identity
    phrase: str
    noun: str
    box: Box
    full_box: Box
    mask: Mask
    full_mask: Mask
    layer: int
    occluded_fraction: float


@dataclass
class RenderedScene:
    """A picture (uint8, height x width x 3) with its truth; instances from farthest to nearest."""

    scene: TabletopScene
    image: Image
    instances: list[InstanceTruth]
    caption: str
    style: str


@dataclass(frozen=True)
class View:
    """How one identity is shown alone.

    `azimuth_degrees` turns the thing; `background` is a table name of `vocabulary.TABLES`,
    "blank", or None for one chosen by the seed.
    """

    azimuth_degrees: float = 0.0
    mood: str = "studio"
    motion: Motion = "still"
    background: str | None = None


def mask_bounds(mask: Mask) -> Box:
    """(x1, y1, x2, y2) of a mask, exclusive at the end; (0, 0, 0, 0) for an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return (0, 0, 0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return (int(columns[0]), top, int(columns[-1]) + 1, bottom)


def _check_size(width: int, height: int) -> None:
    if width < 16 or height < 16:
        raise ValueError(f"an image needs at least 16x16 pixels, not {width}x{height}")


def _sample_identities(
    rng: np.random.Generator, count: int, combinations: Combinations
) -> list[Identity]:
    chosen: list[vocabulary.Combination] = []
    share = rng.random() < 0.5
    share_slot = int(rng.integers(2))  # kind or colour
    novel_at = int(rng.integers(count)) if combinations == "novel" else -1
    for index in range(count):
        pool = vocabulary.ALL_COMBINATIONS
        if combinations == "trained":
            pool = vocabulary.TRAINED_COMBINATIONS
        elif index == novel_at:
            pool = vocabulary.NOVEL_COMBINATIONS
        if share and index == 1:
            wanted = chosen[0][share_slot]
            narrowed = tuple(c for c in pool if c[share_slot] == wanted and c not in chosen)
            pool = narrowed or pool
        while True:
            combination = pool[int(rng.integers(len(pool)))]
            if combination not in chosen:
                break
        chosen.append(combination)
    chosen = [chosen[int(i)] for i in rng.permutation(count)]
    return [sample_identity(rng, *combination) for combination in chosen]


def _sample_stage(
    rng: np.random.Generator, width: int, height: int, mood: str | None = None
) -> Stage:
    mood = mood or vocabulary.MOODS[int(rng.integers(len(vocabulary.MOODS)))]
    light = LIGHTINGS[mood]
    camera = round(float(rng.uniform(27.0, 37.0)), 2)
    wall = vocabulary.WALLS[int(rng.integers(len(vocabulary.WALLS)))]
    if wall == "none":
        edge = 50.0
    else:
        top = height / min(width, height)
        edge = round(top * float(rng.uniform(0.12, 0.55)) / math.sin(math.radians(camera)), 4)
    backdrop = Backdrop(
        table=vocabulary.TABLES[int(rng.integers(len(vocabulary.TABLES)))],
        wall=wall,
        seed=int(rng.integers(2**31)),
        edge=edge,
        tint=round(float(rng.random()), 4),
    )
    side = -1 if rng.random() < 0.5 else 1
    return Stage(
        width=width,
        height=height,
        mood=mood,
        backdrop=backdrop,
        camera_elevation=camera,
        light_azimuth=round(side * float(rng.uniform(25.0, 80.0)), 2),
        light_elevation=round(float(rng.uniform(*light.elevation)), 2),
    )


@dataclass
class _Candidate:
    """A thing to place: its silhouette on the coarse grid, relative to its foot point."""

    index: int
    scale: float
    yaw: float
    radius: float
    mask: Mask
    row: int
    column: int
    area: int
    x: float = 0.0
    y: float = 0.0
    visible: float = 1.0


def _arrange(
    rng: np.random.Generator, identities: Sequence[Identity], stage: Stage
) -> tuple[Placement, ...] | None:
    """Finds places for all identities, or None after a fixed number of tries at falling sizes."""
    width, height = stage.width, stage.height
    short = min(width, height)
    coarse = 2.0 / 72
    columns, rows = round(width / short * 72), round(height / short * 72)
    half_u, half_v = width / short, height / short
    side = 2.0 * min(math.sqrt(width * height) / short, 1.3)
    low, high = _SIZES[min(max(len(identities), 1), 8)]
    wanted = [float(rng.uniform(low, high)) * side for _ in identities]
    yaws = [round(float(rng.uniform(0, 360)), 2) for _ in identities]
    overlap_share = 0.40
    sine = math.sin(math.radians(stage.camera_elevation))
    unit = [
        Posed(build_thing(identity), yaw_matrix(yaw), (0.0, 0.0, 0.0), 1.0)
        for identity, yaw in zip(identities, yaws, strict=True)
    ]
    extents = render.projected_extents(unit, stage.camera_elevation)
    least_area = MIN_VISIBLE_AREA * 1.15 * rows * columns
    for attempt in range(12):
        shrink = 0.93**attempt
        posed = [
            Posed(u.thing, u.rotation, u.position, round(w * shrink / max(e), 4))
            for u, w, e in zip(unit, wanted, extents, strict=True)
        ]
        shapes = render.silhouettes(posed, stage.camera_elevation, coarse)
        things = [
            _Candidate(
                i, p.scale, yaws[i], p.thing.radius * p.scale, mask, row, column,
                int(np.count_nonzero(mask)),
            )
            for i, (p, (mask, row, column)) in enumerate(zip(posed, shapes, strict=True))
        ]  # fmt: skip
        placed: list[_Candidate] = []
        order = sorted(things, key=lambda c: -c.area)
        for thing in order:
            if not _place(rng, thing, placed, stage, coarse, (columns, rows), (half_u, half_v),
                          sine, least_area, overlap_share):  # fmt: skip
                break
        else:
            return tuple(
                Placement(identities[c.index], (c.x, c.y), c.yaw, c.scale)
                for c in sorted(things, key=lambda c: c.index)
            )
    return None


def _place(
    rng: np.random.Generator, thing: _Candidate, placed: list[_Candidate], stage: Stage,
    coarse: float, grid: tuple[int, int], half: tuple[float, float], sine: float,
    least_area: float, overlap_share: float,
) -> bool:  # fmt: skip
    """Places one more thing; appends it to `placed` and returns True when it found room."""
    columns, rows = grid
    height, width = thing.mask.shape
    margin = 0.03
    u_low = -half[0] + margin - thing.column * coarse
    u_high = half[0] - margin - (thing.column + width) * coarse
    v_low = -half[1] + margin + (thing.row + height) * coarse
    v_high = min(
        half[1] - margin + thing.row * coarse,
        (stage.backdrop.edge - thing.radius * 0.9) * sine,
    )
    if u_low > u_high or v_low > v_high or thing.area < least_area:
        return False
    near = bool(placed) and rng.random() < overlap_share
    for trial in range(60):
        if trial == 40:
            near = False
        if near:
            other = placed[int(rng.integers(len(placed)))]
            direction = 1.0 if rng.random() < 0.5 else -1.0
            reach = (thing.radius + other.radius) * float(rng.uniform(1.0, 1.25))
            angle = float(rng.uniform(-0.9, 0.9))
            x = other.x + reach * math.sin(angle) * 1.1
            y = other.y + direction * reach * math.cos(angle)
            if not (u_low <= x <= u_high and v_low <= y * sine <= v_high):
                continue
        else:
            x = float(rng.uniform(u_low, u_high))
            y = float(rng.uniform(v_low, v_high)) / sine
        if any((x - o.x) ** 2 + (y - o.y) ** 2 < (thing.radius + o.radius) ** 2 for o in placed):
            continue
        thing.x, thing.y = round(x, 4), round(y, 4)
        every = sorted([*placed, thing], key=lambda c: -c.y)
        canvas = np.zeros((rows + 8, columns + 8), np.int8)
        for number, c in enumerate(every, 1):
            r = 4 + max(0, round(rows / 2 - c.y * sine / coarse) + c.row)
            k = 4 + max(0, round(columns / 2 + c.x / coarse) + c.column)
            h, w = c.mask.shape
            window = canvas[r : r + h, k : k + w]
            np.putmask(window, c.mask[: window.shape[0], : window.shape[1]], number)
        counts = np.bincount(canvas.reshape(-1), minlength=len(every) + 1)[1:].tolist()
        fractions = [n / c.area for n, c in zip(counts, every, strict=True)]
        # the coarse grid errs more for small things: ask for more than is promised
        if min(counts) < least_area or any(
            f < MIN_VISIBLE_FRACTION + 0.04 + 15.0 / c.area
            for f, c in zip(fractions, every, strict=True)
        ):
            continue
        if trial < 40:
            newly = sum(f < 0.95 for f in fractions) - sum(c.visible < 0.95 for c in placed)
            if near and newly <= 0:
                continue
            if not near and newly > 0:
                continue
        for c, fraction in zip(every, fractions, strict=True):
            c.visible = fraction
        placed.append(thing)
        return True
    return False


def _build_scene(
    rng: np.random.Generator, seed: int, identities: Sequence[Identity], stage: Stage
) -> TabletopScene:
    """Arranges the identities; drops the last one when no arrangement is found."""
    placements = _arrange(rng, identities, stage)
    kept = list(identities)
    while placements is None and len(kept) > 1:
        kept.pop()
        placements = _arrange(rng, kept, stage)
    if placements is None:  # a single thing in an extreme format: stand it in the middle
        unit = Posed(build_thing(kept[0]), yaw_matrix(0.0), (0.0, 0.0, 0.0), 1.0)
        extent = max(render.projected_extents([unit], stage.camera_elevation)[0])
        placements = (Placement(kept[0], (0.0, -0.7), 0.0, round(1.0 / extent, 4)),)
    return TabletopScene(
        seed=seed,
        width=stage.width,
        height=stage.height,
        style=stage.mood,
        backdrop=stage.backdrop,
        camera_elevation=stage.camera_elevation,
        light_azimuth=stage.light_azimuth,
        light_elevation=stage.light_elevation,
        placements=placements,
    )


def sample_scene(
    seed: int,
    *,
    width: int = 256,
    height: int = 256,
    instances: tuple[int, int] = (2, 8),
    combinations: Combinations = "all",
) -> TabletopScene:
    """A random scene; the same arguments always give the same scene.

    `instances` is the least and largest number of things (within 1..8; few things are likelier;
    where they do not fit, things shrink, and at last one is left out). `combinations`: "trained"
    leaves held-out combinations away, "novel" has at least one of them (see
    `vocabulary.is_novel`). Raises ValueError for sizes or numbers out of range.
    """
    _check_size(width, height)
    least, most = instances
    if not 1 <= least <= most <= 8:
        raise ValueError(f"instances must lie within 1..8, not {instances}")
    if combinations not in ("all", "trained", "novel"):
        raise ValueError(f'combinations is "all", "trained" or "novel", not {combinations!r}')
    rng = np.random.default_rng(seed)
    weights = [COUNT_WEIGHTS[n] for n in range(least, most + 1)]
    threshold = float(rng.random()) * sum(weights)
    count = least
    for n, weight in enumerate(weights, least):
        count = n
        threshold -= weight
        if threshold < 0:
            break
    stage = _sample_stage(rng, width, height)
    identities = _sample_identities(rng, count, combinations)
    if combinations == "novel":  # never the one to be left out
        identities.sort(key=lambda i: not vocabulary.is_novel(*i.combination))
    return _build_scene(rng, seed, identities, stage)


def _stage_of(scene: TabletopScene) -> Stage:
    return Stage(
        width=scene.width,
        height=scene.height,
        mood=scene.style,
        backdrop=scene.backdrop,
        camera_elevation=scene.camera_elevation,
        light_azimuth=scene.light_azimuth,
        light_elevation=scene.light_elevation,
    )


def render_scene(scene: TabletopScene) -> RenderedScene:
    """Draws a scene, with masks, boxes, layers and a caption."""
    placements = sorted(scene.placements, key=lambda p: -p.position[1])
    posed = [
        Posed(build_thing(p.identity), yaw_matrix(p.yaw_degrees), (*p.position, 0.0), p.scale)
        for p in placements
    ]
    drawing = draw(posed, _stage_of(scene))
    found: list[InstanceTruth] = []
    for layer, (placement, full, visible) in enumerate(
        zip(placements, drawing.full_masks, drawing.visible_masks, strict=True)
    ):
        identity = placement.identity
        full_box = mask_bounds(full)
        x1, y1, x2, y2 = full_box
        full_area = int(np.count_nonzero(full[y1:y2, x1:x2]))
        area = int(np.count_nonzero(visible[y1:y2, x1:x2]))
        found.append(
            InstanceTruth(
                identity=identity,
                phrase=identity.phrase,
                noun=identity.noun,
                box=full_box if area == full_area else mask_bounds(visible),
                full_box=full_box,
                mask=visible,
                full_mask=full,
                layer=layer,
                occluded_fraction=1.0 - area / full_area if full_area else 0.0,
            )
        )
    return RenderedScene(
        scene=scene,
        image=drawing.image,
        instances=found,
        caption=_caption(scene, placements, found),
        style=scene.style,
    )


def _caption(
    scene: TabletopScene, placements: Sequence[Placement], instances: Sequence[InstanceTruth]
) -> str:
    described = []
    for i, (placement, truth) in enumerate(zip(placements, instances, strict=True)):
        covers = tuple(
            j
            for j in range(i)
            if instances[j].occluded_fraction > 0.01
            and _meet(truth.full_box, instances[j].full_box)
            and bool(
                np.any(
                    truth.full_mask[_overlap(truth.full_box, instances[j].full_box)]
                    & instances[j].full_mask[_overlap(truth.full_box, instances[j].full_box)]
                )
            )
        )
        described.append(captions.Described(truth.phrase, truth.box, placement.position[1], covers))
    rng = np.random.default_rng((scene.seed, 3))
    return captions.scene_caption(described, scene.width, scene.backdrop.table, scene.style, rng)


def _meet(a: Box, b: Box) -> bool:
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


def _overlap(a: Box, b: Box) -> tuple[slice, slice]:
    return slice(max(a[1], b[1]), min(a[3], b[3])), slice(max(a[0], b[0]), min(a[2], b[2]))


def simple_caption(scene: RenderedScene) -> str:
    """The one canonical caption, things from left to right by the centres of their boxes.

    "three things: a plain red mug, a striped blue car and a dotted green ball"
    """
    ordered = sorted(scene.instances, key=lambda i: (i.box[0] + i.box[2], i.box[1]))
    return captions.simple_caption_of([instance.phrase for instance in ordered])


def render_identity(
    identity: Identity, *, width: int, height: int, view: View | None = None, seed: int = 0
) -> tuple[Image, Mask, Box]:
    """One thing alone, large in the frame: image, mask (height x width) and the mask's box.

    The seed moves light, size and table within the view. Raises ValueError for an unknown mood,
    motion or background.
    """
    _check_size(width, height)
    view = view or View()
    if view.mood not in LIGHTINGS:
        raise ValueError(f"unknown mood {view.mood!r}: one of {', '.join(vocabulary.MOODS)}")
    if view.motion not in ("still", "tilted", "airborne", "blurred"):
        raise ValueError(f"unknown motion {view.motion!r}")
    if view.background not in (None, "blank", *vocabulary.TABLES):
        raise ValueError(f"unknown background {view.background!r}")
    rng = np.random.default_rng((seed, 4))
    stage = _sample_stage(rng, width, height, view.mood)
    backdrop = stage.backdrop
    if view.background == "blank":
        backdrop = Backdrop("paper", "none", backdrop.seed, 50.0, 0.0)
    elif view.background is not None:
        backdrop = Backdrop(
            view.background, backdrop.wall, backdrop.seed, backdrop.edge, backdrop.tint
        )
    size = float(rng.uniform(0.60, 0.74))
    lean, tip = float(rng.uniform(14, 26)), float(rng.uniform(-14, 14))
    lean = -lean if rng.random() < 0.5 else lean
    thing = build_thing(identity)
    rotation = yaw_matrix(view.azimuth_degrees)
    if view.motion in ("tilted", "airborne"):
        rotation = _tilt_matrix(lean, tip) @ rotation
    unit = Posed(thing, rotation, (0.0, 0.0, 0.0), 1.0)
    u0, u1, v0, v1 = render.projected_bounds([unit], stage.camera_elevation)[0]
    frame = (2.0 * width / min(width, height), 2.0 * height / min(width, height))
    room = 0.86 if view.motion == "airborne" else 1.0
    scale = size * room * min(frame[0] / (u1 - u0), frame[1] / (v1 - v0))
    sine = math.sin(math.radians(stage.camera_elevation))
    cosine = math.cos(math.radians(stage.camera_elevation))
    # lift a leaning thing until nothing is under the table
    sunk = render.lowest_point(unit) * scale
    lift = max(0.0, -sunk)
    if view.motion == "airborne":
        lift += 0.30
    x = -(u0 + u1) / 2 * scale
    centre_v = -0.06 + (0.12 if view.motion == "airborne" else 0.0)
    y = (centre_v - (v0 + v1) / 2 * scale - lift * cosine) / sine
    edge = max(backdrop.edge, y + thing.radius * scale + 0.05)
    stage = Stage(
        width=width,
        height=height,
        mood=view.mood,
        backdrop=Backdrop(backdrop.table, backdrop.wall, backdrop.seed, edge, backdrop.tint),
        camera_elevation=stage.camera_elevation,
        light_azimuth=stage.light_azimuth,
        light_elevation=stage.light_elevation,
        streak=0.5 if view.motion == "blurred" else 0.0,
    )
    drawing = draw([Posed(thing, rotation, (x, y, lift), scale)], stage)
    mask = drawing.visible_masks[0]
    return drawing.image, mask, mask_bounds(mask)


def _tilt_matrix(lean: float, tip: float) -> NDArray[np.float64]:
    """Leans to the side (about y), then tips forward or back (about x); degrees."""
    c, s = math.cos(math.radians(lean)), math.sin(math.radians(lean))
    side = np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))
    c, s = math.cos(math.radians(tip)), math.sin(math.radians(tip))
    forth = np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    result: NDArray[np.float64] = forth @ side
    return result


def draw_prompt(prompt: str, *, width: int, height: int, seed: int) -> RenderedScene:
    """Text to image: a scene with the things that a text names.

    Missing attributes are filled at random; a mood named in the text is used; a text that names
    nothing gives a random scene. At most the first eight things are drawn.
    """
    _check_size(width, height)
    wanted = captions.parse_prompt(prompt)[:8]
    mood = mood_in(prompt)
    rng = np.random.default_rng((seed, 5))
    stage = _sample_stage(rng, width, height, mood)
    if not wanted:
        count = int(rng.integers(2, 6))
        identities = _sample_identities(rng, count, "all")
    else:
        taken: set[vocabulary.Combination] = set()
        identities = []
        for kind, colour, pattern in wanted:
            identity = sample_identity(rng, kind, colour, pattern)
            for _ in range(20):
                if identity.combination not in taken:
                    break
                identity = sample_identity(rng, kind, colour, pattern)
            taken.add(identity.combination)
            identities.append(identity)
    return render_scene(_build_scene(rng, seed, identities, stage))


_MOOD_HINTS: tuple[tuple[str, str], ...] = (
    ("golden", "golden hour"), ("sunset", "golden hour"), ("evening", "golden hour"),
    ("overcast", "overcast"), ("cloudy", "overcast"), ("moon", "moonlight"), ("neon", "neon"),
    ("night", "night lamp"), ("lamplight", "night lamp"), ("lamp light", "night lamp"),
    ("studio", "studio"), ("morning", "morning"), ("dawn", "morning"), ("daylight", "daylight"),
    ("sunny", "daylight"), ("noon", "daylight"), ("bright day", "daylight"),
)  # fmt: skip


def mood_in(text: str) -> str | None:
    """The mood that a text asks for, or None."""
    lowered = text.lower()
    lowered = re.sub(r"golden (?!hour|light|evening|sun)", "", lowered)
    for hint, mood in _MOOD_HINTS:
        if hint in lowered:
            return mood
    return None


_TABLE_HINTS: tuple[tuple[str, str], ...] = (
    ("wood", "wood"), ("cloth", "cloth"), ("marble", "marble"), ("sand", "sand"),
    ("beach", "sand"), ("grass", "grass"), ("lawn", "grass"), ("meadow", "grass"),
    ("tile", "tiles"), ("slate", "slate"), ("linen", "linen"), ("concrete", "concrete"),
    ("paper", "paper"), ("blank", "blank"), ("white background", "blank"),
    ("plain background", "blank"),
)  # fmt: skip


def redraw_identity(
    identity: Identity, *, instruction: str, width: int, height: int, seed: int
) -> tuple[Image, Mask]:
    """The same thing drawn anew as an edit instruction asks: image and mask.

    Reads turns ("camera turned by 45 degrees", "from behind", "from the left side"), moods ("in
    the golden hour light"), motion ("in motion", "jumping", "tilted") and backgrounds ("on the
    grass"); what the instruction leaves open is chosen by the seed.
    """
    text = instruction.lower()
    rng = np.random.default_rng((seed, 6))
    azimuth = float(rng.uniform(0, 360))
    mood = vocabulary.MOODS[int(rng.integers(len(vocabulary.MOODS)))]
    motion: Motion = "still"
    degrees = re.search(r"(-?\d+(?:\.\d+)?)\s*(?:°|deg)", text)
    if degrees:
        azimuth = float(degrees.group(1))
        if "left" in text or re.search(r"(?<!counter)(?<!counter-)clockwise", text):
            azimuth = -azimuth
    elif "behind" in text or "the back" in text:
        azimuth = 180.0
    elif "side" in text or "profile" in text:
        azimuth = 270.0 if "left" in text else 90.0
    elif "from the front" in text or "front view" in text:
        azimuth = 0.0
    if any(w in text for w in ("jump", "air", "flying", "float", "thrown", "falling", "leap")):
        motion = "airborne"
    elif any(w in text for w in ("tilt", "lean", "tipp", "posture", "pose")):
        motion = "tilted"
    elif any(w in text for w in ("motion", "moving", "speed", "racing", "running", "blur")):
        motion = "blurred"
    background = next((name for hint, name in _TABLE_HINTS if hint in text), None)
    view = View(azimuth, mood_in(text) or mood, motion, background)
    image, mask, _ = render_identity(identity, width=width, height=height, view=view, seed=seed)
    return image, mask

"""What a language model is asked for: choices combined at random, the same from the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from imig.prompts.config import LanguageModelWriter
from imig.sample import derive_seed
from imig.schema import Subset

REALISTIC: Final = "realistic"
STYLES: Final = ("watercolour", "anime", "fantasy", "cyberpunk", "illustration")
"""Those of the paper, beside realistic."""

SETTINGS: Final = (
    "a kitchen table", "a living room", "a bedroom", "a bathroom shelf", "a garage", "an attic",
    "a home office desk", "a balcony", "a back garden", "a greenhouse", "a vegetable patch",
    "a playground", "a school classroom", "a library", "a science laboratory", "a hospital room",
    "a bakery", "a butcher's shop", "a flower shop", "a bookshop", "a toy shop", "a hardware store",
    "a supermarket aisle", "a street market", "a cafe terrace", "a restaurant", "a hotel lobby",
    "a barber shop", "a tailor's workshop", "a potter's studio", "a painter's studio",
    "a music room", "a theatre stage", "a museum hall", "a gym", "a swimming pool",
    "a tennis court",
    "a city square", "a narrow alley", "a bus stop", "a railway platform", "an airport lounge",
    "a harbour quay", "a fishing boat", "a sandy beach", "a rocky shore", "a river bank",
    "a mountain meadow", "a snowy slope", "a pine forest", "a desert road", "a farmyard",
    "a stable", "a vineyard", "an orchard", "a campsite", "a picnic on a lawn", "a rooftop",
    "a construction site", "a car repair shop", "a warehouse", "a train compartment",
)  # fmt: skip
INTERACTIONS: Final = (
    "they only stand or lie near each other", "one leans against another", "one holds another",
    "one looks at another", "one stands on top of another", "one lies inside another, still seen",
    "one partly hides another", "one moves towards another", "one carries another",
    "one is being used on another", "they face each other", "they are lined up",
    "they form a small heap", "one reaches for another", "one follows another",
    "one hangs above another", "they are arranged in a circle", "they are of very unequal size",
)  # fmt: skip
PLACES: Final = (
    "say for two of them which is left and which is right", "say which one is nearest",
    "say which one is farthest", "put one in the middle", "put one into a corner of the picture",
    "say that one is above another", "say that one is behind another",
    "say that one is in front of another", "spread them over the whole picture",
    "leave where they are open",
)  # fmt: skip
LIGHTS: Final = (
    "morning sun", "noon sun", "golden hour", "dusk", "an overcast sky", "fog", "rain",
    "lamplight at night", "candlelight", "neon light", "studio light", "light from a window",
)  # fmt: skip
KINDS: Final = (
    "people", "pets", "wild animals", "farm animals", "birds", "toys", "tools", "kitchen ware",
    "food", "fruit and vegetables", "drinks", "furniture", "lamps", "clothes", "shoes and bags",
    "books and paper", "instruments of music", "sports gear", "vehicles", "bicycles and scooters",
    "electronics", "plants in pots", "flowers", "boxes and parcels", "works of art", "vases",
)  # fmt: skip


@dataclass(frozen=True)
class Template:
    """What one prompt shall be about."""

    style: str
    setting: str
    light: str
    kinds: str
    """Of which the subjects are."""
    interaction: str
    places: str
    count: int
    """Of subjects."""


def draw_template(
    number: int,
    *,
    attempt: int,
    recipe_seed: int,
    subset: Subset,
    instances: tuple[int, int],
    writer: LanguageModelWriter,
) -> Template:
    """The choices for a prompt; other ones for every attempt (from 0) at the same number."""
    rng = random.Random(derive_seed(recipe_seed, subset, "template", number, attempt))
    realistic = rng.random() < writer.realistic
    return Template(
        style=REALISTIC if realistic else rng.choice(writer.styles or STYLES),
        setting=rng.choice(writer.scenes or SETTINGS),
        light=rng.choice(LIGHTS),
        kinds=" and ".join(rng.sample(KINDS, 2)),
        interaction=rng.choice(writer.interactions or INTERACTIONS),
        places=rng.choice(PLACES),
        count=rng.randint(*instances),
    )

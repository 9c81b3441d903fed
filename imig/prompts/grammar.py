"""Prompts by rules over the tabletop world: offline, the same from the same seed and number.

`imig.tabletop.draw_prompt` draws exactly what they name: things, mood and table. Where a thing
stands is left to it, so the prompts say nothing about places.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from imig.prompts.record import PromptRecord
from imig.sample import derive_seed
from imig.schema import Subject, Subset

WRITER: Final = "grammar"
MOST_SUBJECTS: Final = 8
"""Things that `draw_prompt` draws, at most."""

_OPENINGS: Final = (
    "{Counted} {setting}: {listed}.",
    "A picture of {counted} {setting}: {listed}.",
    "{Counted} stand {setting}: {listed}.",
    "A still life {setting} with {listed}.",
    "A photo of {listed} {setting}.",
    "{Listed} stand together {setting}.",
    "{Listed} {setting}.",
)


def write_grammar_prompt(
    number: int, *, recipe_seed: int, instances: tuple[int, int], subset: Subset
) -> PromptRecord:
    """The prompt of that number: the same arguments always give the same one.

    Parameters
    ----------
    instances:
        Fewest and most subjects, within 1 to 8; all of a prompt differ in kind, colour or pattern.
    subset:
        Each has prompts of its own. In `flexible` every subject gets one for drawing it alone.
    """
    # Imported here: prompts that come from a file need nothing of tabletop.
    from imig.tabletop.captions import TABLE_WORDS, count_phrase, join_list
    from imig.tabletop.scene import sample_identities
    from imig.tabletop.vocabulary import MOODS, TABLES, with_article

    fewest, most = instances
    if not 1 <= fewest <= most <= MOST_SUBJECTS:
        raise ValueError(f"instances must lie within 1..{MOST_SUBJECTS}, not {instances}")
    rng = np.random.default_rng(derive_seed(recipe_seed, subset, "prompt", number))
    count = int(rng.integers(fewest, most + 1))
    identities = sample_identities(rng, count, "all")
    mood = MOODS[int(rng.integers(len(MOODS)))]
    table = TABLES[int(rng.integers(len(TABLES)))]
    wordings = _mood_wordings(mood)
    light = wordings[int(rng.integers(len(wordings)))]
    phrases = [identity.phrase for identity in identities]
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    listed = join_list([with_article(phrase) for phrase in phrases])
    counted = count_phrase(count)
    prompt = opening.format(
        counted=counted,
        Counted=_capitalised(counted),
        listed=listed,
        Listed=_capitalised(listed),
        setting=f"on {TABLE_WORDS[table]} {light}",
    )
    return PromptRecord(
        prompt=prompt.replace(" stand ", " stands ", 1) if count == 1 else prompt,
        nouns=phrases,
        subjects=[
            Subject(
                phrase=identity.phrase,
                noun=identity.noun,
                prompt=f"{with_article(identity.phrase)} alone on a plain background",
            )
            for identity in identities
        ]
        if subset == "flexible"
        else [],
        style=mood,
        template={"opening": opening, "mood": mood, "table": table, "count": count},
        writer=WRITER,
    )


def _mood_wordings(mood: str) -> list[str]:
    """Those of the captions' wordings that `draw_prompt` takes for this mood and no other."""
    from imig.tabletop.captions import MOOD_WORDS
    from imig.tabletop.wording import mood_in

    return [wording for wording in MOOD_WORDS[mood] if mood_in(wording) == mood]


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]

from pathlib import Path

import pytest

from imig.errors import UsageError
from imig.recipe.root import Recipe
from imig.recipe.stages import build_stages


def recipe(**blocks: object) -> Recipe:
    return Recipe.model_validate(
        {"name": "test", "source": {"kind": "tabletop", "count": 2}, **blocks}
    )


def test_stages_come_in_the_fixed_order() -> None:
    whole = recipe(filter={}, score={}, crop={}, segment={}, ground={}, caption={})
    assert tuple(stage.name for stage in build_stages(whole)) == (
        "source", "caption", "ground", "segment", "crop", "score", "filter", "write",
    )  # fmt: skip
    assert [stage.name for stage in build_stages(recipe(ground={}))] == [
        "source", "ground", "write",
    ]  # fmt: skip


def test_every_input_of_the_whole_recipe_is_written_before() -> None:
    written: set[str] = set()
    whole = recipe(caption={}, ground={}, segment={}, crop={}, score={}, filter={})
    for stage in build_stages(whole):
        assert stage.reads <= written
        written |= stage.writes
    assert written == {
        "target", "caption", "nouns", "boxes", "masks", "references", "scores", "verdict",
    }  # fmt: skip


def test_seed_and_subset_reach_the_stages() -> None:
    (source, _) = build_stages(recipe(seed=5, subset="complex"))
    assert (source.context.recipe_seed, source.context.subset) == (5, "complex")


def test_a_wrong_path_is_found_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        build_stages(recipe(source={"kind": "folder", "path": str(tmp_path / "nowhere")}))

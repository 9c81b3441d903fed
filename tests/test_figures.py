"""A figure is declared in one place, and everything that has to do with figures follows."""

import subprocess
import sys
from pathlib import Path

ADDED = """
    saturation: Annotated[
        float | None,
        Figure(
            rank=6,
            meaning="mean saturation of the target",
            made_by="colours",
            bounds=(Bound("too grey", lowest=0, highest=1),),
        ),
    ] = Field(default=None, description="Mean saturation of the target.")
"""

PROGRAM = """
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

ADDED = sys.argv[1]


class WithOneMore(SourceFileLoader):
    def get_data(self, path):
        text = super().get_data(path).decode()
        before = text.index("    perceptual_hash: str")
        return (text[:before] + ADDED.strip("\\n") + "\\n" + text[before:]).encode()

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "imig.schema.scores":
            file = str(Path(path[0]) / "scores.py")
            return importlib.util.spec_from_loader(name, WithOneMore(name, file))


sys.meta_path.insert(0, Finder)

from support.tiny_dataset import make_sample

from imig.derived.thresholds import THRESHOLDS
from imig.display.stats import SCORES, scene_stats
from imig.engine.plan_checks import _COMPUTED_BY
from imig.recipe.root import Recipe
from imig.shards.index import index_schema, row_to_plain, scene_to_row
from imig.stages.filter import FilterConfig
from imig.stages.verdict import Measured, judge

scene = make_sample(0).scene
scene.scores.saturation = 0.25
config = FilterConfig.model_validate({"min_saturation": 0.5, "min_mask_coverage": 0})
verdict = judge(Measured(scene), config)
assert (verdict.reason, verdict.figures) == ("too grey", {"saturation": 0.25, "threshold": 0.5})
assert "min_saturation" in str(Recipe.model_json_schema())
assert [one for one in THRESHOLDS if one.key == "min_saturation"][0].at_least
assert _COMPUTED_BY["filter.min_saturation"] == "colours"
assert index_schema().field("saturation").type == "double"
assert row_to_plain(scene_to_row(scene, shard="x.tar", offset=0, size=1))["saturation"] == 0.25
assert SCORES["saturation"] == "mean saturation of the target"
assert list(scene_stats([scene]).scores["saturation"]) == [0.25]
"""


def test_one_field_is_a_threshold_a_column_and_a_line_of_the_statistics() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ADDED],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr

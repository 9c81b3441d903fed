"""Every guard against hostile files has a test that fails without it.

A guard is taken out of a copy of the package, and the test that is named beside it is run on the
copy: it must fail. A text that is no longer there is an error, so that the table stays true.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import imig

PACKAGE = Path(imig.__file__).parent
ROOT = Path(__file__).parents[2]
FAILED = 1
"""pytest's exit code for tests that ran and failed; others are of tests that could not run."""


class Guard(NamedTuple):
    file: str
    """Below `imig/`."""
    text: str
    """Stands in the file once."""
    without: str
    test: str
    """Below `tests/`; must fail with `without` in place of `text`."""


HOSTILE = "hostile/test_hostile_everything.py::test_every_command_answers_as_the_table_says"
LIMITS = "shards/test_shards_limits.py::"
KEPT = "fuzz/test_fuzz_mutants.py::test_what_has_been_found"
PICKLES = "models/test_models_pickles.py::"

GUARDS: dict[str, Guard] = {
    # Pictures
    "formats of pictures": Guard(
        "pictures/opening.py", "Image.open(io.BytesIO(data), formats=formats)",
        "Image.open(io.BytesIO(data))",
        LIMITS + "test_formats_that_hand_a_file_to_other_programs_are_not_opened",
    ),
    "formats that validate opens": Guard(
        "checks/pictures.py", "Image.open(io.BytesIO(data), formats=FORMATS)",
        "Image.open(io.BytesIO(data))", HOSTILE + "[target-eps]",
    ),
    "pixels before anything is decoded": Guard(
        "pictures/opening.py", "if width * height > max_pixels:", "if False:",
        "pictures/test_pictures_opening.py",
    ),
    "size and format before anything is decoded": Guard(
        "shards/views.py", "decode_pixels(self.read(member), check_header=check)",
        "decode_pixels(self.read(member))",
        LIMITS + "test_a_picture_of_another_size_is_not_decoded",
    ),
    "what a picture is and what is stated": Guard(
        "shards/views.py", "if found != stated:", "if False:", HOSTILE + "[target-grey]",
    ),
    # Sizes in the schema
    "sides": Guard(
        "schema.py", "Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]",
        "Side = Annotated[int, Field(gt=0)]",
        HOSTILE + "[scene-10-to-the-9]",
    ),
    "corners of boxes": Guard(
        "schema.py", "Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]", "Annotated[int, Field()]",
        HOSTILE + "[box-huge]",
    ),
    "pixels of a mask": Guard(
        "schema.py", '_check_pixels("a mask", *reversed(self.size))', "pass",
        LIMITS + "test_a_mask_of_the_largest_sides_is_too_large",
    ),
    "pixels of a target": Guard(
        "schema.py", '_check_pixels("a target", self.width, self.height)', "pass",
        LIMITS + "test_a_target_of_the_largest_sides_is_too_large",
    ),
    "pixels of a scene": Guard(
        "schema.py", "if pixels > MAX_SCENE_PIXELS:", "if False:",
        HOSTILE + "[references-heavy-together]",
    ),
    "instances": Guard(
        "schema.py",
        "instances: list[Instance] = Field(default_factory=list, max_length=MAX_INSTANCES)",
        "instances: list[Instance] = Field(default_factory=list)",
        LIMITS + "test_more_instances_than_there_may_be",
    ),
    "captions": Guard(
        "schema.py", 'Field(default="", max_length=MAX_CAPTION)', 'Field(default="")',
        HOSTILE + "[caption-1-mb]",
    ),
    "areas": Guard(
        "schema.py", "gt=0, le=MAX_PIXELS, description", "gt=0, description",
        LIMITS + "test_an_area_that_no_mask_can_have",
    ),
    "counts of a manifest": Guard(
        "schema.py", "Count = Annotated[int, Field(ge=0, le=MAX_SEED)]",
        "Count = Annotated[int, Field(ge=0)]", LIMITS + "test_counts_that_no_table_can_hold",
    ),
    "sizes of an encoding": Guard(
        "schema.py", "reference_side: Side", "reference_side: int = Field(gt=0)",
        LIMITS + "test_an_encoding_at_sizes_that_cannot_be",
    ),
    "targets like threads, trained on": Guard(
        "training/prepare.py", "if size[0] * size[1] > MAX_PIXELS:", "if False:",
        LIMITS + "test_a_target_like_a_thread",
    ),
    "boxes outside of their pictures": Guard(
        "shards/views.py", "(box[2] > size[0] or box[3] > size[1])", "False",
        KEPT + "[found-scene-subject-box-outside]",
    ),
    # Run lengths
    "characters of a run": Guard(
        "layout/masks.py", "or shift == longest:", ":",
        LIMITS + "test_a_run_that_is_spelt_longer_than_any",
    ),
    "characters of a run, many masks at once": Guard(
        "shards/run_lengths.py", "if characters.max() > MAX_CHARACTERS:", "if False:",
        LIMITS + "test_a_run_that_is_spelt_longer_than_any",
    ),
    "a mask of the target's size": Guard(
        "shards/views.py", "rle_to_mask(self.record.mask, size=self._members.size)",
        "rle_to_mask(self.record.mask)",
        HOSTILE + "[mask-of-another-size]",
    ),
    # Tars
    "links in a sample": Guard(
        "shards/dataset.py", "if not item.plain:", "if False:",
        LIMITS + "test_a_link_in_the_region_of_a_sample",
    ),
    "links in a shard that is copied": Guard(
        "shards/writer.py", "if not item.plain or name in members:", "if name in members:",
        HOSTILE + "[target-symbolic-link]",
    ),
    "members twice in a shard that is copied": Guard(
        "shards/writer.py", "if not item.plain or name in members:", "if not item.plain:",
        HOSTILE + "[member-twice]",
    ),
    "links, to validate": Guard(
        "checks/shard.py", "if not item.plain:", "if False:",
        HOSTILE + "[target-symbolic-link]",
    ),
    "members that reach beyond a sample": Guard(
        "shards/dataset.py", "if position + BLOCK + padded(header.size) > end:", "if False:",
        LIMITS + "test_a_member_that_reaches_beyond_its_sample_is_not_read",
    ),
    "pipes and devices": Guard(
        "regular_file.py", "if not stat.S_ISREG(os.fstat(descriptor).st_mode):", "if False:",
        LIMITS + "test_a_pipe_is_no_regular_file",
    ),
    "another sample's JSON": Guard(
        "shards/dataset.py", "if scene.id != self.ids[row]:", "if False:",
        HOSTILE + "[id-of-another]",
    ),
    # Manifest, index, report
    "names of shards": Guard(
        "schema.py", r'Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.tar$")', "Field()",
        HOSTILE + "[manifest-shard-above]",
    ),
    "shards listed twice": Guard(
        "schema.py", "if record.name in seen:", "if False:", HOSTILE + "[manifest-shard-twice]",
    ),
    "merges of merges": Guard(
        "schema.py", "if depth > MAX_MERGES:", "if False:", HOSTILE + "[manifest-merged-50-deep]",
    ),
    "places in shards": Guard(
        "shards/places.py", "if good.all():", "if True:",
        HOSTILE + "[row-offset-behind]",
    ),
    "rows and samples": Guard(
        "shards/index.py", "if samples is not None and file.metadata.num_rows != samples:",
        "if False:",
        HOSTILE + "[row-missing]",
    ),
    "kinds in an index": Guard(
        "training/catalogue_check.py", "~_is_in(kind, KINDS)", "~_is_in(kind, KINDS) & False",
        LIMITS + "test_a_kind_of_reference_that_is_none",
    ),
    "rows of an index": Guard(
        "training/catalogue_check.py", 'require_values(table, "subset", "width"',
        'require_values(table, "subset", "subset"',
        KEPT + "[found-index-null-width]",
    ),
    "checksums of shards": Guard(
        "checks/folder.py", "elif check.sha256 != record.sha256:", "elif False:",
        "checks/test_checks_folder.py",
    ),
    "deep manifests": Guard(
        "derived/parents.py", "(ValueError, AttributeError, RecursionError)",
        "(ValueError, AttributeError)", KEPT + "[found-manifest-deep]",
    ),
    "deep reports": Guard(
        "shards/funnel.py", "(ValueError, KeyError, TypeError, RecursionError)",
        "(ValueError, KeyError, TypeError)", HOSTILE + "[report-deep]",
    ),
    "pictures of a card": Guard(
        "checks/folder.py", "if not is_jpeg(path):", "if False:",
        HOSTILE + "[pictures-link]",
    ),
    # Features and encodings
    "the header of features": Guard(
        "shards/features.py", 'if stored != 2 * int(header["length"]):', "if False:",
        LIMITS + "test_features_of_another_length_than_stated",
    ),
    "the norm of features": Guard(
        "shards/features.py", "if not abs(norm - 1) <= NORM_TOLERANCE:", "if False:",
        "shards/test_shards_features.py",
    ),
    "another sample's encoding": Guard(
        "checks/encoded.py", "if header.id != sample:", "if False:",
        "checks/test_checks_encoded.py",
    ),
    "references of an encoding": Guard(
        "checks/encoded.py", "if name not in header.boxes:", "if False:",
        KEPT + "[found-encoding-shows-another-reference]",
    ),
    "layouts of an encoding": Guard(
        "training/data.py", "if choice.variant not in scene.layouts:", "if False:",
        KEPT + "[found-index-promises-a-face]",
    ),
    # What strangers have written, on a screen
    "terminal escapes": Guard(
        "cli.py", "to_printable(error.message, lines=True)", "error.message",
        "test_printable.py::test_errors_of_the_command_line",
    ),
    "markup": Guard(
        "display/stats.py", "{escape(to_printable(name))}", "{to_printable(name)}",
        "test_printable.py::test_statistics_show_phrases_as_they_are_written",
    ),
    "aliases of YAML": Guard(
        "recipe/yaml_lines.py", "if walk.visited > MAX_NODES:", "if False:",
        "recipe/test_recipe_values.py",
    ),
    # Pickles
    "weights of segment-anything": Guard(
        "models/segment_anything.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-segment-anything]",
    ),
    "weights of groundingdino": Guard(
        "models/groundingdino.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-groundingdino]",
    ),
    "weights of a head": Guard(
        "models/aesthetics.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-aesthetics]",
    ),
    "weights of transformers": Guard(
        "models/pretrained.py", "weights_only=True", "weights_only=False",
        "guards/test_guards_pickle_calls.py",
    ),
    "weights of open-clip": Guard(
        "models/open_clip.py", "weights_only=True", "weights_only=False",
        PICKLES + "test_weights[archive-open-clip, a folder]",
    ),
    "weights of a component": Guard(
        "contextgen/components.py", "use_safetensors=True,", "",
        "guards/test_guards_pickle_calls.py",
    ),
    "checkpoints": Guard(
        "training/checkpoint.py", "weights_only=True", "weights_only=False",
        "training/test_training_checkpoint.py::test_a_checkpoint_runs_no_code",
    ),
    "the tagger's model": Guard(
        "stages/word_classes.py", "HanoverTagger.HanoverTagger(str(model))",
        "HanoverTagger.HanoverTagger(model.name)",
        PICKLES + "test_a_model_of_hanta_in_the_current_folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_the_text_of_a_guard_is_there(guard: Guard) -> None:
    assert (PACKAGE / guard.file).read_text(encoding="utf-8").count(guard.text) == 1
    assert (ROOT / "tests" / guard.test.partition("::")[0]).is_file()


@pytest.mark.long
@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_without_a_guard_its_test_fails(guard: Guard, tmp_path: Path) -> None:
    copy = tmp_path / "imig"
    _link_tree(PACKAGE, copy)
    mutated = copy / guard.file
    text = mutated.read_text(encoding="utf-8")
    mutated.unlink()  # the link, not the file
    mutated.write_text(text.replace(guard.text, guard.without), encoding="utf-8")
    done = _run_test(guard.test, package=tmp_path)
    assert done.returncode == FAILED, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failed" in done.stdout.splitlines()[-1]


@pytest.mark.long
def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    """And passes as it is: else every mutation would seem to be found."""
    _link_tree(PACKAGE, tmp_path / "imig")
    done = _run_test(LIMITS + "test_a_pipe_is_no_regular_file", package=tmp_path)
    assert done.returncode == 0, done.stdout
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import imig; print(imig.__file__)"],
        cwd=ROOT, env=_environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path))


def _run_test(test: str, *, package: Path) -> subprocess.CompletedProcess[str]:
    # -P: the current folder's own package must not come first
    return subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pytest", "-q", "-x", "--tb=line"),
            *("-p", "no:cacheprovider", "-m", "", f"tests/{test}"),
        ],
        cwd=ROOT, env=_environment(package), capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip


def _environment(package: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}


def _link_tree(source: Path, target: Path) -> None:
    """A folder of folders like the source's, and links to its files."""
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)

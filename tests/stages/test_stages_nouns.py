import pytest

from imig.stages.nouns import caption_to_phrases, head_noun, singular
from imig.tabletop import render_scene, sample_scene, simple_caption

CASES = [
    (
        "three things: a plain red mug, a striped blue car and a dotted green ball",
        ["plain red mug", "striped blue car", "dotted green ball"],
    ),
    (
        "in front of the plain red mug stands a striped blue car",
        ["plain red mug", "striped blue car"],
    ),
    (
        "A plain red mug overlapping the striped blue car. A dotted green chair right of the "
        "plain red mug.",
        ["plain red mug", "striped blue car", "dotted green chair"],
    ),
    ("Two objects in neon light: a metallic pink ring and an orange boat", None),
    ("a man riding a brown horse next to a wooden fence", ["man", "brown horse", "wooden fence"]),
    ("Two dogs and a dog playing with a frisbee in the park.", ["dog", "frisbee"]),
    ("a red and white bus parked on the side of a street", ["red and white bus"]),
    ("a big, red car and a group of people standing", ["big red car", "person"]),
    ("a cat naps on a couch", ["cat", "couch"]),
    ("a woman's hand holding a pair of scissors", ["woman", "hand", "scissors"]),
    ("a woman’s hat", ["woman", "hat"]),
    ("a plate topped with broccoli and a slice of pizza", ["plate", "broccoli", "pizza"]),
    ("three teddy bears sitting on a dining room table", ["teddy bear", "dining room table"]),
    ("a wooden cutting board with two knives", ["wooden cutting board", "knife"]),
    ("a sleeping cat on a parked car", ["sleeping cat", "parked car"]),
    ("two men wearing ties and sunglasses walk away", ["man", "tie", "sunglasses"]),
    ("an orange sitting next to a glass of wine", ["orange", "glass", "wine"]),
    ("a laptop computer sitting on top of a desk", ["laptop computer", "desk"]),
    ("a close up of a fire hydrant", ["fire hydrant"]),
    ("a painting of a dog", ["dog"]),
    ("a painting above a sofa", ["painting", "sofa"]),
    ("a black and white photo of a train", ["train"]),
    ("a stove, two vegetables and a radish", ["stove", "vegetable", "radish"]),
    ("A VASE filled with purple flowers!", ["vase", "purple flower"]),
    ("a view of the sky in the background", []),
    ("the picture is red and blue", []),
    ("", []),
    ("12345 ... ?!", []),
    ("猫", ["猫"]),
]


@pytest.mark.parametrize(("caption", "phrases"), CASES)
def test_phrases_of_a_caption(caption: str, phrases: list[str] | None) -> None:
    expected = ["metallic pink ring", "orange boat"] if phrases is None else phrases
    assert caption_to_phrases(caption) == expected


def test_ignored_heads_are_left_out() -> None:
    caption = "a red mug on a wooden table with two table lamps"
    assert caption_to_phrases(caption, ignored=["table"]) == ["red mug", "table lamp"]


@pytest.mark.parametrize("seed", range(60))
def test_tabletop_captions_give_all_phrases(seed: int) -> None:
    truth = render_scene(sample_scene(seed, width=64, height=64, instances=(2, 4)))
    wanted = {instance.phrase for instance in truth.instances}
    assert set(caption_to_phrases(simple_caption(truth))) == wanted
    furniture = ["table", "tablecloth", "cloth", "paper", "sign"]
    assert set(caption_to_phrases(truth.caption, ignored=furniture)) == wanted, truth.caption


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("dogs", "dog"), ("boxes", "box"), ("benches", "bench"), ("ponies", "pony"),
        ("people", "person"), ("buses", "bus"), ("houses", "house"), ("glass", "glass"),
        ("scissors", "scissors"), ("tomatoes", "tomato"), ("bus", "bus"), ("tennis", "tennis"),
    ],
)  # fmt: skip
def test_singular(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_head_noun_stands_before_a_preposition() -> None:
    assert head_noun("white cup of coffee") == "cup"
    assert head_noun("striped blue car") == "car"
    assert head_noun("car") == "car"

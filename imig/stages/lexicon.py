"""Word lists of the caption reader in `imig.stages.nouns`. Closed classes, all lower case."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this that these those some any each every another other both all no many several "
    "few more most his her its their our your my various multiple numerous different"
)
NUMBERS = _words(
    "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand"
)
PREPOSITIONS = _words(
    "of in on at by with without from to into onto over under above below beside besides between "
    "behind before after near around against across along off for through inside outside toward "
    "towards up down out as than like while during per via opposite upon atop amid among beneath "
    "underneath past within beyond about next"
)
FUNCTION_WORDS = _words(
    "and or but nor so if then there here it he she they we you i him them us who which what where "
    "when whose whom not very also too just only each other together away apart close still "
    "someone something somebody everyone is are was were be been being am has have had do does did "
    "can could will would may might must should seem seems appear appears get gets got"
)
VERBS = _words(
    "stand stands sit sits lie lies lay lays rest rests hang hangs lean leans hold holds wear "
    "wears "
    "look looks show shows feature features contain contains run runs walk walks fly flies ride "
    "rides eat eats drink drinks hide hides cover covers overlap overlaps touch touches play plays "
    "stare stares smile smiles swim swims jump jumps carry carries pull pulls push pushes drive "
    "drives face faces float floats surround surrounds includes include depict depicts sleep "
    "sleeps "
    "catch catches throw throws read reads use uses make makes take takes sat stood lay held wore "
    "sees see hits hit swings watches grazes graze poses pose perches perch occludes occlude "
    "blocks crosses reflects reaches leads fills lines shines glows"
)
"""Finite verbs of captions; after an article or an adjective such a word is read as a noun."""

ADJECTIVES = _words(
    "red orange yellow green cyan blue purple pink brown black white grey gray beige gold golden "
    "silver turquoise violet magenta tan teal maroon navy crimson dark light bright pale colorful "
    "colourful plain metallic shiny matte glossy transparent clear solid stripy spotted big small "
    "large little tiny huge tall short long wide narrow thick thin round square flat high low old "
    "young new modern vintage antique wet dry hot cold warm cool clean dirty open empty full busy "
    "beautiful pretty cute nice good great lovely male female happy sad ripe fresh raw wild soft "
    "hard rough smooth heavy plastic wooden ceramic electric checked "
    "rusty fluffy furry cloudy sunny lush bare sharp blurry quiet "
    "lone single double main same similar left right front back top bottom upper lower middle"
)
ADJECTIVE_ENDINGS = ("ous", "ful", "less")

NOT_PARTICIPLES = _words(
    "ring king wing string swing sling thing spring building ceiling painting clothing evening "
    "morning wedding earring pudding dumpling railing awning duckling sibling icing dressing "
    "lightning frosting topping stuffing drawing bed shed sled seed weed feed reed speed red breed "
    "steed bread moped tweed hundred bobsled flatbed sing bring housing crossing opening landing "
    "scaffolding seating stocking ping viking lemming starling"
)
"""Nouns (and red) in -ing and -ed."""

COMPOUND_PARTICIPLES = _words("dining parking cutting rocking washing sewing skating")
"""Participles that make a compound even after a noun: "kitchen cutting board"."""

MEASURES = _words(
    "group pair couple bunch lot lots number set row rows line slice piece pieces pile stack "
    "series crowd variety collection selection kind type sort sheet close-up closeup close part "
    "side top bottom front back end edge corner middle center centre left right rest majority "
    "dozen assortment array view picture image photo photograph painting drawing sketch portrait "
    "illustration rendering depiction shot scene screenshot watercolor watercolour hundreds dozens"
)
"""Heads that name no object when "of" follows: "a pair of shoes", "a painting of a dog"."""

ABSTRACT = _words(
    "picture image photo photograph view scene shot illustration rendering background foreground "
    "group pair couple bunch lot lots number set row rows thing things object objects item items "
    "stuff something side top bottom front back left right middle center centre corner edge end "
    "distance way day time night light lamplight moonlight daylight sunlight shadow shadows shade "
    "morning evening afternoon sunset sunrise dusk dawn noon hour weather air color colour colors "
    "colours pattern shape size style kind type variety area part place position closeup close-up "
    "one ones body lighting rain wind reflection mood summer winter autumn spring detail details "
    "each other back-to-back focus motion action game match angle"
)
SURROUNDINGS = _words(
    "sky ground grass sand snow water sea ocean floor dirt wall walls field beach street road "
    "sidewalk room kitchen bathroom bedroom living-room city town park forest woods yard lawn "
    "studio landscape countryside desert mountainside hillside lake river outdoors indoors"
)
"""Stuff and places: boxes around them hold the whole picture, not an instance."""

PLURAL_ONLY = _words(
    "glasses sunglasses eyeglasses scissors pants jeans shorts trousers tongs binoculars pliers "
    "clothes headphones goggles tweezers leggings tights pajamas pyjamas"
)
SINGULAR_IN_S = _words(
    "glass bus dress grass cactus tennis series canvas cross mattress moss compass bass lens gas "
    "iris atlas christmas octopus walrus hippopotamus platypus chess brass"
)
IRREGULAR_PLURALS = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "knives": "knife", "wives": "wife",
    "leaves": "leaf", "loaves": "loaf", "shelves": "shelf", "wolves": "wolf", "calves": "calf",
    "halves": "half", "scarves": "scarf", "hooves": "hoof", "cacti": "cactus", "oxen": "ox",
    "policemen": "policeman", "firemen": "fireman", "snowmen": "snowman", "movies": "movie",
    "cookies": "cookie", "ties": "tie", "pies": "pie", "hoodies": "hoodie", "horses": "horse",
    "houses": "house", "buses": "bus", "shoes": "shoe", "canoes": "canoe", "axes": "axe",
    "toes": "toe", "brownies": "brownie", "smoothies": "smoothie", "vases": "vase",
    "suitcases": "suitcase", "bookcases": "bookcase", "nurses": "nurse", "purses": "purse",
    "roses": "rose", "noses": "nose", "hoses": "hose", "cases": "case", "mooses": "moose",
    "bookshelves": "bookshelf", "thieves": "thief", "elves": "elf", "zombies": "zombie",
    "birdies": "birdie", "selfies": "selfie", "caches": "cache", "quiches": "quiche",
}  # fmt: skip

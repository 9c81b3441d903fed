"""Word lists of the caption reader in `imig.stages.nouns`, all lower case.

Closed classes, and open ones where they are left out of a picture or the tagger errs. Names of
things to be found do not belong here: tests take the names of COCO and LVIS out of the lists.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this that these those some any each every another other both all no many several "
    "few more most his her its their our your my various multiple numerous different"
)
NUMBERS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve dozen hundred thousand"
)
PREPOSITIONS = _words(
    "of in on at by with without from to into onto over under above below beside besides between "
    "behind before after near around against across along off for through inside outside toward "
    "towards up down out as than like while during per via opposite upon atop amid among beneath "
    "underneath past within beyond about next except including versus unlike facing minus sans"
)
SINGULAR_DETERMINERS = _words("a an one each every another this that")
SIDES = _words("left right front back top bottom")
OBJECT_PRONOUNS = _words("it him them himself herself itself themselves")
SENTENCE_ENDS = frozenset(".;!?")
INTENSIFIERS = _words("very too so quite rather really extremely super ultra fairly")
FUNCTION_WORDS = _words(
    "and or but nor so if then there here it he she they we you i him them us who which what where "
    "when whose whom not very also too just only each other together away apart close still "
    "someone something somebody everyone is are was were be been being am has have had do does did "
    "neither nobody nothing none cannot ready "
    "can could will would may might must should seem seems appear appears get gets got"
)
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

ALWAYS_ADJECTIVES = _words("half")
ALWAYS_NOUNS = _words(
    "ring king wing string swing sling thing spring building ceiling painting clothing evening "
    "morning wedding earring pudding dumpling railing awning duckling sibling icing dressing "
    "lightning frosting topping stuffing drawing bed shed sled seed weed feed reed speed red breed "
    "steed bread moped tweed bobsled flatbed sing bring housing crossing opening landing "
    "scaffolding seating stocking ping viking lemming starling render"
)
"""Nouns that look like participles or verbs, whatever the tagger says."""

COMPOUND_PARTICIPLES = _words("dining parking")
"""Participles that nothing in a picture does: part of a compound even after a noun."""

MEASURES = _words(
    "group pair couple bunch lot lots number set row rows line slice piece pieces pile stack heap "
    "series crowd variety collection selection kind type sort sheet close-up closeup close part "
    "side top bottom front back end edge corner middle center centre left right rest majority "
    "dozen assortment array view picture image photo photograph painting drawing sketch portrait "
    "illustration rendering render depiction shot scene screenshot watercolor watercolour hundreds "
    "dozens thousands herd flock pack swarm school fleet cluster bundle handful trio sign trace "
    "hint presence plenty lack absence rest range level half quarter third amount"
)
"""Heads that name no object when "of" follows: "a pair of shoes", "a painting of a dog"."""

ABSTRACT = _words(
    "picture image photo photograph photography view scene shot illustration rendering render "
    "background foreground backdrop composition subject perspective frame-filling quality "
    "resolution masterpiece artwork art bokeh blur focus depth exposure contrast saturation "
    "grain film-grain aesthetic theme concept portrait viewer solo masterwork detail "
    "text watermark pastel watercolor makeup closeup close-up close-ups engine asset lens "
    "group pair bunch lot lots number row rows thing object item stuff something "
    "set light game place shade piece part top bottom end body side back left right middle center "
    "centre corner edge front distance way day time night lamplight moonlight daylight sunlight "
    "candlelight backlight shadow morning evening afternoon sunset sunrise dusk dawn noon midnight "
    "twilight hour weather air color colour pattern shape size style kind type variety area "
    "position one lighting illumination rain wind fog mist haze reflection mood atmosphere summer "
    "winter autumn spring year month week today each other back-to-back motion action match angle "
    "trick conversation nap fun smile sense mystery act adventure freedom love peace hope joy "
    "speed life beauty magic sport soccer work rest use order fashion manner attention effect "
    "tone vibe feeling emotion expression pose gesture"
)
"""Heads that name no object; after another noun some do, see `COMPOUND_HEADS`."""

CONCRETE_IN_NESS = _words("harness witness wilderness lioness governess baroness business")
"""Nouns in -ness that can be seen; the others are qualities."""

COMPOUND_HEADS = _words(
    "light set game place shade piece part top bottom end body number pattern shape spring match "
    "lens engine rest sign trio case back"
)
"""Heads that name an object when a noun stands before: "street light", "chess set"."""

SPORTS = _words(
    "baseball football soccer basketball volleyball tennis hockey cricket rugby golf softball "
    "badminton polo lacrosse handball boxing wrestling sports sport ball"
)
"""Before "game" and "match": an event, not a thing."""

LIGHTS_OF_NO_LAMP = _words(
    "morning evening afternoon night day sunset sunrise noon twilight dawn dusk sun moon winter "
    "summer autumn studio rim key fill back side natural window neon candle lamp ambient stage "
    "background rembrandt golden hour"
)
"""Before "light" without an article: how a picture is lit."""

HOLDING = _words("holding wearing hugging grabbing")
"""What tags say somebody does with the thing behind it; no names of things begin with these."""

UNITS = _words("inch inches gallon litre liter pound ounce watt volt rpm")
"""Behind a number and before a noun: "a 60 inch TV"."""

CAMERA = _words("camera viewer lens audience photographer")
"""What is looked at "at the camera", "for the viewer": not in the picture."""

CREDITS = frozenset(
    tuple(pair.split())
    for pair in (
        "trending on", "featured on", "published on", "rendered in", "rendered with", "shot on",
        "shot with", "taken with", "photographed with", "photographed by", "illustrated by",
    )
)  # fmt: skip
"""Before the name of a site, a program, a camera or an artist."""

AIMING = _words("at for toward towards facing into")

NAMING = _words("named called titled entitled nicknamed")

SURROUNDINGS = _words(
    "sky ground grass sand snow water sea ocean floor dirt wall field beach street road sidewalk "
    "room kitchen bathroom bedroom living-room city town park forest wood yard lawn studio "
    "landscape countryside desert mountainside hillside lake river outdoors indoors outdoor indoor "
    "lot roadside highway seashore shore coast horizon woodland scenery backyard surroundings mud"
)
"""Stuff and places: boxes around them hold the whole picture, not an instance."""

PLURAL_ONLY = _words(
    "glasses sunglasses eyeglasses scissors pants jeans shorts trousers tongs binoculars pliers "
    "clothes headphones goggles tweezers leggings tights pajamas pyjamas"
)
PLURAL_MODIFIERS = _words("sports arms goods games drinks customs savings sales")
"""Plurals that stand before another noun: "sports car"."""
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

DENYING_PAIRS = frozenset(
    tuple(pair.split())
    for pair in (
        "instead of", "rather than", "free of", "free from", "devoid of", "bare of", "empty of",
        "absence of", "lack of", "hardly any", "barely any", "scarcely any",
        "none of", "stripped of",
    )
)  # fmt: skip
DENYING_TRIPLES = frozenset({("in", "place", "of"), ("as", "opposed", "to")})
CLAUSE_WORDS = _words("and or but if because while when who which that there than as")
"""Words that a denial does not cross on its way to its noun."""
BE = _words("is are was were")
SEEN = _words("visible seen shown present there pictured depicted included")

FOREIGN_FUNCTION_WORDS = {
    "German": _words(
        "der die das den dem des ein eine einen einem einer und oder mit auf im in an am vor neben "
        "über unter zwei drei ist sind von zum zur bei"
    ),
    "French": _words(
        "le la les l un une des du de d et ou avec sur dans sous devant près deux trois est sont "
        "au aux en"
    ),
    "Spanish": _words(
        "el la los las un una unos unas y o con en sobre de del al dos tres es son junto bajo"
    ),
    "Italian": _words(
        "il lo la i gli le un una uno e o con su sul sulla in nel nella di del della dei due tre è"
    ),
    "Portuguese": _words(
        "o a os as um uma uns e ou com em no na nos nas de do da dos das sobre dois duas três é"
    ),
    "Dutch": _words("de het een en of met op in van naast voor onder twee drie is zijn"),
    "Russian": _words("и или с на в под над около у из два две три"),
}
"""Words by which a caption in another language is told, and between which its nouns stand."""

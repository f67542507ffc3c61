"""Words the generated shops are made of: categories, what they sell, how it is called and what is searched for."""

#: Category -> nouns of its products.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "lighting": ("lamp", "lantern", "spotlight", "bulb", "pendant"),
    "kitchen": ("pan", "knife", "kettle", "bowl", "grater"),
    "bedding": ("duvet", "pillow", "sheet", "blanket", "mattress"),
    "shoes": ("boot", "sneaker", "sandal", "loafer", "slipper"),
    "jackets": ("parka", "raincoat", "blazer", "fleece", "anorak"),
    "dresses": ("gown", "sundress", "tunic", "pinafore", "shift"),
    "bags": ("backpack", "tote", "satchel", "clutch", "duffel"),
    "watches": ("chronograph", "diver", "field watch", "strap", "pocket watch"),
    "audio": ("headphones", "speaker", "turntable", "amplifier", "earbuds"),
    "phones": ("handset", "case", "charger", "cable", "stand"),
    "computers": ("laptop", "keyboard", "monitor", "mouse", "dock"),
    "garden": ("trowel", "planter", "hose", "rake", "seed box"),
    "toys": ("puzzle", "kite", "train", "blocks", "doll"),
    "sports": ("racket", "kettlebell", "mat", "helmet", "ball"),
    "beauty": ("serum", "balm", "brush", "soap", "perfume"),
    "books": ("novel", "atlas", "cookbook", "notebook", "anthology"),
    "pets": ("leash", "feeder", "scratcher", "cushion", "aquarium"),
    "tools": ("drill", "wrench", "saw", "level", "clamp"),
}
CATEGORY_NAMES = tuple(CATEGORIES)

ADJECTIVES = (
    "small", "large", "classic", "light", "folding", "soft", "slim", "sturdy", "vintage", "modern",
    "compact", "deluxe", "everyday", "quiet", "bright", "round",
)  # fmt: skip
MATERIALS = (
    "oak", "linen", "steel", "cotton", "leather", "copper", "wool", "bamboo", "glass", "canvas",
    "ceramic", "cork", "felt", "brass", "silk", "pine",
)  # fmt: skip

#: Pages that are neither a list, a product nor a step of buying.
INFO_PAGES = ("/", "/pages/reviews", "/pages/sizes", "/pages/shipping", "/pages/returns", "/account", "/pages/about")

CURRENCIES = ("EUR", "USD", "GBP")


def queries(category: str) -> list[str]:
    """Return the search terms shoppers use for a category: nouns alone, then refined by material, then by adjective."""
    nouns = CATEGORIES[category]
    refined = [f"{material} {noun}" for noun in nouns for material in MATERIALS[:4]]
    narrow = [f"{adjective} {noun}" for noun in nouns for adjective in ADJECTIVES[:3]]
    return [*nouns, *refined, *narrow]


#: Number of search terms of every category.
QUERIES_PER_CATEGORY = len(queries(CATEGORY_NAMES[0]))
#: All search terms; those of category ``c`` start at ``c * QUERIES_PER_CATEGORY``.
QUERIES = tuple(query for category in CATEGORY_NAMES for query in queries(category))

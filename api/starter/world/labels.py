"""What things with boxes are called; api/vision/label_words.py has their words in English and Vietnamese."""

THINGS = (
    "sun", "moon", "stars", "birds", "balloon", "rainbow", "boat", "pine tree", "tree", "palm tree", "cactus", "house",
    "circle", "square", "triangle", "star",
    "pizza", "cake", "cup", "apple", "fish",
)  # fmt: skip
SIGNS = (
    "road closed sign", "no entry sign", "speed limit sign", "no left turn sign", "no parking sign", "stop sign",
    "give way sign", "crossroads sign", "pedestrian crossing sign", "go straight sign", "roundabout sign", "one way sign",
)  # fmt: skip
NAMES = (*THINGS, *SIGNS)
"""In the order of the detector's classes."""
SKY = frozenset({"sun", "moon", "stars", "rainbow"})
"""Things of the background: no subject of a picture."""

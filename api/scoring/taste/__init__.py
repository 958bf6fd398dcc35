"""The owner's own taste: stars and choices between two, and the scorers that are trained on them."""

"""A capability outside the tree, as EXTRA_APPS adds it: the mean colour of a picture."""

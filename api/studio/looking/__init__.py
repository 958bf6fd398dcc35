"""Look: what is in a picture. Its layout is judged, things, text and hazards are found in it, and it is described.

looks.py    what can be asked of a picture, with the models for it
form.py     what a person ticks, read and submitted as the jobs that it is
earlier.py  the jobs that have looked at a picture, and the pictures that were looked at
views.py    the page
"""

"""A grid of variants: parts of a prompt, seeds and one parameter, as one job.

form.py      what was typed, as a request of the API, and back
made.py      the labelled picture with its cells
views.py     the pages
"""

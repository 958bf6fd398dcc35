"""Pictures beside each other: looked at closely, and chosen between.

sheet.py     what is known of them as a table, with what differs
views.py     two to four side by side
taste.py     the choice between two that trains a scorer
learned.py   what was learned from it
"""

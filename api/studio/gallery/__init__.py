"""All pictures of a person: found again, judged, sorted, taken away.

query.py     what is asked of the list, read off the address
pages.py     one page of it, in a time that does not grow with the history
changes.py   what is done to many pictures at once
picture.py   all that is known of one picture
views.py     the pages
"""

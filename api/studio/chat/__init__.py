"""Chats in the browser: the conversations of one person, their branches, and answers as they are written.

conversations.py  the list          threads.py  one conversation as turns     forms.py  what is asked
markdown.py       safe HTML         stream.py   an answer under way           pictures.py  what a message shows
"""

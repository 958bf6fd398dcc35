"""Talk about the world's pictures: questions whose answers follow from the facts, for starter-vlm to learn and to be tested on.

`looks.py` makes pictures, `questions.py` closed questions, `sentences.py` descriptions, `as_json.py` answers in JSON, `asides.py` what
can't be answered, `dialogues.py` all of them in turn.
"""

"""Questions and answers about the world's pictures, computed from their facts: training data and tests of starter-vlm.

`labelled_pictures.py`: pictures with facts. `questions.py`: closed questions. `sentences.py`: descriptions. `json_answers.py`: answers
as JSON. `fallback_answers.py`: questions without an answer. `dialogues.py`: dialogues made of all of them.
"""

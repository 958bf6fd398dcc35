"""OpenAI's pictures: generations, edits and variations, over the same jobs as /api/txt2img/ and /api/img2img/.

fields.py      OpenAI's fields, and what they come to in ours
bodies.py      from JSON or a form to OpenAI's fields and ours beside them
sources.py     the picture that is edited, and its mask
replies.py     a job's pictures in OpenAI's words
streaming.py   the same while they are made
views.py openapi.py
"""

"""Hugging Face's inference API: `POST /hf/{task}` and `POST /hf/models/{model}`, as huggingface_hub's InferenceClient calls them.

A task (tasks/) translates a body into a capability's request, and a job's result into what the client reads.
"""

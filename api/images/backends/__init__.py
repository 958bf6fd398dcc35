"""How pictures are made: local.py with diffusers in this process, remote.py by a Hugging Face inference server. No Django."""

"""The syntaxes in which a prompt may be written. No torch, no Django.

syntaxes.py         their names, and which one `auto` is
networks.py         `<lora:name:weight>`
schedule.py         `[from:to:when]`, `[a|b]`: what the prompt says at each step; the parts between `AND`, which are composed
weights.py          brackets, weights, escapes, BREAK: pieces of text with a weight each
embedding_names.py  textual inversion embeddings by name
chunks.py           from pieces to windows of 75 tokens
reading.py          a prompt as a whole: what of it is encoded at which step
compel_pieces.py    the same of Compel's weights
embedding_headers.py  the vectors of an embedding's file
tokenizing.py       a model's own tokenizer, for counting
"""

"""Checkpoints in one safetensors file: from the names of the original releases to diffusers' pipelines, offline.  [torch; no Django]

`configurations/` has, for each family, what its own repository says of the sizes of its parts, written down by us: a single file has
weights only. clip_merges.txt.xz is the vocabulary of OpenAI's CLIP (MIT), which every family's first text encoder reads, and
t5_pieces.model.xz that of Google's T5 (Apache 2.0), which the last one of SD 3 and FLUX reads.

    components     which tensors of the file belong to which part of the pipeline
    renaming       from the file's names to the model's, on real tensors or on their shapes alone
    fitting        the header against the model that is to be built, before weights are read
    configurations the configuration of each part, adapted to what the header shows
    building       the pipeline
"""

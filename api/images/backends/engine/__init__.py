"""The denoise loop for UNet families (SD 1.x, SD 2.x, SDXL): rows of different requests share the UNet's passes.  [torch; no Django]

engine.py        Engine: requests are added, `step` runs one pass and ends those that are done
tasks.py         a request in the engine, and what it is told
admission.py     which request gets the next row, and which rows share the next pass
new_rows.py      from a request to a row: the pipelines' own preparation, in their order of random draws
conditioning.py  what the UNet is told beside the latents; prompt embeddings are kept by text
schedules.py     a scheduler of its own for each row, copied from a prepared one
control.py       ControlNets: each row's maps, weights and windows
image_prompts.py IP-Adapters: from pictures to keys and values, once for a request; image_attention.py: what these add in a pass
isolation.py     one request's error ends that one alone
rows.py          Row: one picture, its latents, scheduler and position
passes.py        one UNet pass over rows, and each row's scheduler step
coefficients.py  schedulers as tables, read off diffusers' objects; table_steps.py: one step of many rows by them (not on a CPU)
graph_cache.py   the denoiser's forward as CUDA graphs (cuda_capture.py: what needs CUDA); compilation.py: its blocks compiled
"""

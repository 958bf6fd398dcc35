"""What the model loader is made of: leases, memory and the ladder when it runs out, diffusers' pipelines.  [torch; no Django]"""

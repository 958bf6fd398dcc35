"""Upscalers: networks that enlarge pictures, from one safetensors file.  [torch; no Django]

rrdbnet.py   RRDBNet: ESRGAN, BSRGAN, Real-ESRGAN and most of what communities train
srvgg.py     SRVGGNetCompact: Real-ESRGAN's small ones, and ours
building.py  from a file to what a lease gets
"""

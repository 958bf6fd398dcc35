"""The parameters that programs write into their pictures, and the request that they come to here. No torch.

texts.py      the texts in a file, each of them bounded
found.py      what every reader gives
darkroom.py, a1111.py, comfyui.py, invokeai.py, novelai.py, fooocus.py
              one reader for each program
resolving.py  from what was found to a request that is valid on this server
reading.py    all of it together
"""

"""A server of the Model Context Protocol at /mcp: what assistants can call, over the same keys and jobs.

views.py     the address, with this server's own rules of access; stateless, so that any web process answers any request
exchange.py  the official package's ASGI application, called from a Django view
direct.py    requests that want no progress: plain JSON, without the package's transport
server.py    what the package is told: tools, resources, instructions. Imported with the first request: the package takes 0.5 s
calls.py     which jobs belong to a client's request, so that another request can cancel them
following.py from a tool's arguments to jobs that have ended: submit, tell the progress, cancel when the client leaves
tools/       one file for each group of tools; schemas.py derives what they take from the API's serializers
"""

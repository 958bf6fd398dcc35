"""Tools that this server runs for a chat model (api/runtime/server_tools.py): each call is a child job of the chat's job.

An answer is written in turns. A turn that ends with such calls is kept as messages of the job (`turns.py`), its calls become child jobs,
and the job leaves its worker until they have ended: nothing waits on a worker for another job. Then the next turn is written, in front of
which the model reads the results. A worker that dies loses a turn at most.
"""

"""Tools that a chat may call: the forms in which models write calls, how an answer is read, and what constrains it. No torch, no Django."""

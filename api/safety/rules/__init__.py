"""Rules for prompts: which words and patterns a request may not have, and a record of those that had."""

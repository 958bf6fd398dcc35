"""System checks: every wrong setting has an id, a sentence and a cure. `manage.py check` shows them, every command runs them."""

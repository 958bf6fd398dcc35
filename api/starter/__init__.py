"""The built-in models: their weights, and the code that draws their world and trains them."""

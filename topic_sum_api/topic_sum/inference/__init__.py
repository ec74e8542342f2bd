"""Everything the model does. Nothing in this package knows about Django or HTTP."""

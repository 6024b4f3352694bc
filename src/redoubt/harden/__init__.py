"""Model to stronger model, and its price."""

"""Training with a guarantee: DP-SGD, the features it is worth training on, and the ledger of what was spent."""

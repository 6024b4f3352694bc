"""The gallery of broken defences: each an ordinary torch module from its paper's description, knowing nothing of Redoubt.

A defence's `forward` takes images `[B, 1, 28, 28]` in 0..1 and returns logits `[B, 10]`, or, where it refuses inputs, the
pair of logits `[B, 10]` and suspicion `[B]`: an input is refused where its suspicion is positive.
"""

"""The gallery of broken defences: ordinary torch modules from their papers' descriptions, without Redoubt.

A defence's `forward` takes images `[B, 1, 28, 28]` in 0..1 and returns logits `[B, 10]`, or, where it refuses inputs,
the pair of logits `[B, 10]` and suspicion `[B]`: an input is refused where its suspicion is positive.
"""

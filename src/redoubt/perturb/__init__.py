"""The sets an adversary may move in: norm balls, rotation+translation, unions."""

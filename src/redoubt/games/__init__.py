"""The rules of each game: who sees what, who won, which measures, with confidence intervals."""

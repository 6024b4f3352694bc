"""Complete answers: cases, the search for counterexamples, branch and bound."""

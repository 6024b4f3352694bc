"""What `redoubt demo` lays down: a model, its training and a policy, as a user would write them."""

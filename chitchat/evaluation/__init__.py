"""How good replies are: scores of given (context, reply) pairs, and measures of what a model says."""

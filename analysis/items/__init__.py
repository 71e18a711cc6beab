"""Items of evaluated models, and paired comparisons of two models on the items that both answered."""

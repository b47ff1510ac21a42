"""How the budget of a study is spent: the finalists that are chosen from its search, and their cross-validation."""

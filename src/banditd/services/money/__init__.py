"""Money: the accounts of budgets, predicted amounts, the fixed-arm mixture."""

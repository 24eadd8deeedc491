"""What answers cost: accounts of budgets, predicted amounts, the mixture of fixed arms."""

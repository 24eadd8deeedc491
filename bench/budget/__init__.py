"""``make bench-budget``: budgets that hold, prices that move, beside ParetoBandit and the fixed-arm mixture."""

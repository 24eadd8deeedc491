"""How one decision is made, in one place and pure: from the state of a policy and a query to the arm that answers."""

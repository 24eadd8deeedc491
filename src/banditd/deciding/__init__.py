"""One decision, in one place, pure: from what is known of a policy and a query to the arm that answers."""

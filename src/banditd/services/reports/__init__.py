"""What people and programs read: statistics, savings, health, the dashboard. Read-only."""

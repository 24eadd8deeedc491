"""What people and programs read: statistics, savings, health, the dashboard. Nothing here changes anything."""

"""Scores from where they are: files and other systems become rewards, each counted once."""

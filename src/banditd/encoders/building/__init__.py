"""Building the shipped encoder and its feature maps; nothing here runs while serving."""

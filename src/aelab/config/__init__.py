"""From what a person said to checked objects."""

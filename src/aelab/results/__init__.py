"""What a run came to: measured, drawn, tabled, reported."""

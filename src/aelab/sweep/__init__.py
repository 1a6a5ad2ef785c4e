"""Many runs from one command: search spaces, studies that survive a kill, leaderboards, comparisons."""

"""One run, and runs in order: training, the run folder, chains, the store of finished stages."""

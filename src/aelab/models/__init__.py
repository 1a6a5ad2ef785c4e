"""One LightningModule per variant, on one base."""

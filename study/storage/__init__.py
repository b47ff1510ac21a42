"""The Optuna storage: opening it, batching its writes, heartbeats and reconnection."""

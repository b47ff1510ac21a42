"""Tune with a loop of one's own, here Optuna's.

``python examples/own_tuner.py [DATA] [TRIALS]``

``run_trial`` is one training in two phases; it calls back after every epoch, and stops where the answer is false.
"""

import sys

import optuna

from drft import TrialConfig, open_dataset, run_trial

data, trials = sys.argv[1] if len(sys.argv) > 1 else "synthetic", int(sys.argv[2]) if len(sys.argv) > 2 else 5
dataset = open_dataset(data)


def objective(trial: optuna.Trial) -> float:
    """Train at a depth and a learning rate; return the best accuracy on validation."""
    config = TrialConfig(
        image_size=96,
        depth=trial.suggest_int("depth", 0, 8),
        depth_phase={"lr": trial.suggest_float("lr", 5e-4, 2e-2, log=True), "epochs": 5},
    )

    def keep_on(record) -> bool:
        trial.report(record.val_accuracy, record.step)
        return not trial.should_prune()

    result = run_trial(config, dataset, keep_on)
    trial.set_user_attr("gap", result.best.gap)
    return result.best.val_accuracy


study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
study.optimize(objective, trials)
print(f"Highest of {trials} scores, which is optimistic: {study.best_value:.1%} with {study.best_params}")

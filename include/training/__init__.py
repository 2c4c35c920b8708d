"""Training: from gold tables to a registered model.

``data`` builds the data set, ``tuning`` searches the hyperparameters, ``fitting`` fits and calibrates the booster,
``evaluation`` computes the metrics and checks requirements and leakage, ``model`` is the trained model and its bundle,
``card`` renders the model card, and ``release`` logs, registers and promotes. ``candidate`` and ``train`` run these
steps in order; ``commands`` has the command lines of processes and pods.
"""

"""Release: log a training to MLflow, register its model, and promote it to champion."""

"""``python -m tests.behaviour.train_once DATASET BUNDLE WORKERS``: train in a separate process."""

from __future__ import annotations

import sys
from pathlib import Path

from include.settings import Settings
from include.training.candidate import make_candidate
from include.training.data.dataset import PROJECT_FILE, load_dataset, read_configuration


def main(folder: Path, bundle: Path, workers: int) -> None:
    project = read_configuration(folder / PROJECT_FILE)
    settings = Settings(home=folder, project=project.name, training={"workers": workers})  # type: ignore[arg-type]
    make_candidate(project, settings, load_dataset(folder)).bundle("run").save(bundle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

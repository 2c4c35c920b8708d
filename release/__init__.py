"""The release of a model in CI: from a version in the registry to pods that serve it."""

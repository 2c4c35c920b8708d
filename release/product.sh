#!/usr/bin/env bash
# The release of the code: bash release/product.sh VERSION. [tool.bumpversion] in pyproject.toml lists the changed files.
set -euo pipefail
version=$1 bump=${BUMP:-.venv/bin/bump-my-version}
refuse() {
  echo "$1" >&2
  exit 1
}

[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || refuse "The version $version is not of the form 1.2.3."
current=$("$bump" show current_version)
[ "$(printf '%s\n' "$version" "$current" | sort -V | tail -n 1)" != "$current" ] ||
  refuse "The version $version is not newer than $current."
[ "$(git branch --show-current)" = main ] || refuse "Releases are made on the branch main."
awk '/^## /{inside = /\[Unreleased\]/} inside && /^- /{found = 1} END{exit !found}' CHANGELOG.md ||
  refuse "CHANGELOG.md has no entries under Unreleased."
"$bump" bump --new-version "$version"
echo "Check the commit with \`git show\`. Then run \`git push --follow-tags\`."

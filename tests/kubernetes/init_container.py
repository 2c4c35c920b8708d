"""The node of a simulated pod: it runs the init containers of the pod as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BENTO = "/opt/bento"
_LOG_BYTES = 2048


@dataclass
class Node:
    """What a pod finds on its node.

    Attributes:
        images: The folder of the Bento in each image.
        config_maps: The content of each ConfigMap.
    """

    images: dict[str, Path] = field(default_factory=dict)
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    _results: dict[str, str] = field(default_factory=dict)

    def run(self, template: dict[str, Any]) -> str:
        """Run the init containers of a template, once; return the end of the log of the first that fails, else nothing.

        Args:
            template: The template of the pod.
        """
        text = json.dumps(template, sort_keys=True)
        if text not in self._results:
            self._results[text] = next(
                filter(None, (self._run(item, template) for item in template["spec"].get("initContainers") or [])), ""
            )
        return self._results[text]

    def _run(self, container: dict[str, Any], template: dict[str, Any]) -> str:
        with tempfile.TemporaryDirectory(prefix="churn-node-") as name:
            paths = {_BENTO: str(self.images[container["image"]])}
            for mount in container["volumeMounts"]:
                (volume,) = [item for item in template["spec"]["volumes"] if item["name"] == mount["name"]]
                folder = Path(name) / mount["name"]
                folder.mkdir()
                paths[mount["mountPath"]] = str(folder)
                self._fill(folder, volume, template["metadata"])
            variables = {item["name"]: item["value"] for item in container["env"]}
            command = [self._here(part, paths, variables) for part in [*container["command"], *container["args"]]]
            done = subprocess.run(
                [sys.executable, *command[1:]] if command[0] == "python" else command,
                cwd=Path(paths[_BENTO]) / "src",
                # The image's code, not this repository's; the image sets PYTHONDONTWRITEBYTECODE.
                env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | variables,
                capture_output=True,
                text=True,
                check=False,
            )
        return (done.stdout + done.stderr)[-_LOG_BYTES:] or "failed" if done.returncode else ""

    def _fill(self, folder: Path, volume: dict[str, Any], metadata: dict[str, Any]) -> None:
        if "configMap" in volume:
            for file, content in self.config_maps[volume["configMap"]["name"]].items():
                (folder / file).write_text(content)
        for item in volume.get("downwardAPI", {}).get("items", []):
            # metadata.annotations['NAME']; the file of a missing annotation is empty
            annotation = item["fieldRef"]["fieldPath"].split("'")[1]
            (folder / item["path"]).write_text(metadata.get("annotations", {}).get(annotation, ""))

    @staticmethod
    def _here(part: str, paths: dict[str, str], variables: dict[str, str]) -> str:
        for name, value in variables.items():
            part = part.replace(f"$({name})", value)
        option, separator, value = part.rpartition("=")
        for path, local in paths.items():
            if value == path or value.startswith(f"{path}/"):
                return option + separator + local + value.removeprefix(path)
        return part

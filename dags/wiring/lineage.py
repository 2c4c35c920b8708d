"""The OpenLineage events of tasks: the datasets that a task has recorded, with versions and column lineage.

Airflow's OpenLineage provider sends the events; ``[openlineage] extractors`` names ``TaskLineage``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.openlineage.extractors import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    schema_dataset,
    storage_dataset,
)

from include import lineage
from include.lineage import Dataset

_DIRECT = {"IDENTITY", "TRANSFORMATION", "AGGREGATION"}


class TaskLineage(BaseExtractor):
    """Adds the recorded datasets to the events at the end of a task, also of a task that failed."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the classes of the tasks that are Python functions."""
        return ["_PythonDecoratedOperator", "_BranchPythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage[Any, Any]:
        return OperatorLineage()  # the task has not started

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the datasets that the task has read and written.

        Args:
            task_instance: Not used.
        """
        recorded = lineage.recorded()
        columns = _column_lineage(recorded)
        return OperatorLineage(
            inputs=[InputDataset(one.namespace, one.path, _facets(one)) for one in recorded.read.values()],
            outputs=[
                OutputDataset(one.namespace, one.path, _facets(one) | columns.get(one.name, {}))
                for one in recorded.written.values()
            ],
        )


def _facets(dataset: Dataset) -> dict[str, DatasetFacet]:
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version),
    }
    if dataset.columns:
        fields = [
            schema_dataset.SchemaDatasetFacetFields(name, kind or None, ordinal_position=number)
            for number, (name, kind) in enumerate(dataset.columns.items(), start=1)
        ]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields)
    if dataset.is_delta:
        facets["storage"] = storage_dataset.StorageDatasetFacet("delta", "parquet")
    return facets


def _column_lineage(recorded: lineage.Lineage) -> dict[str, dict[str, DatasetFacet]]:
    """Return the facet of each written dataset whose columns have known origins, by the name of the dataset."""
    if not recorded.read or not any(one.columns for one in recorded.written.values()):
        return {}
    from include.column_lineage import Origin, column_lineage
    from include.projects import load_project
    from include.settings import get_settings

    def field(origin: Origin) -> column_lineage_dataset.InputField:
        source = recorded.read[origin.dataset]
        kind = "DIRECT" if origin.effect in _DIRECT else "INDIRECT"
        transformation = column_lineage_dataset.Transformation(kind, origin.effect)
        return column_lineage_dataset.InputField(source.namespace, source.path, origin.column, [transformation])

    facets: dict[str, dict[str, DatasetFacet]] = {}
    project = load_project(get_settings().project)
    for written in recorded.written.values():
        found = column_lineage(project, written, recorded.read)
        if found.columns:
            fields = {
                name: column_lineage_dataset.Fields([field(origin) for origin in sorted(origins)])
                for name, origins in found.columns.items()
            }
            rows = [field(origin) for origin in sorted(found.rows)]
            facets[written.name] = {"columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(fields, rows)}
    return facets

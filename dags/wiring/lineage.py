"""The OpenLineage events of tasks: the datasets that a task has recorded, with versions and column lineage.

Airflow's OpenLineage provider sends the events. Its option ``extractors`` names ``TaskLineage``, and the configuration
of the transport names ``WithoutUserInput``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.providers.openlineage.extractors import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent
from openlineage.client.facet_v2 import (
    DatasetFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    schema_dataset,
    storage_dataset,
)
from openlineage.client.transport.transform.transform import EventTransformer

from include import lineage
from include.lineage import Dataset

if TYPE_CHECKING:
    from openlineage.client.client import Event

    from include.column_lineage import Origin

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
            inputs=[InputDataset(one.namespace, one.path, facets=_facets(one)) for one in recorded.read.values()],
            outputs=[
                OutputDataset(one.namespace, one.path, facets=_facets(one) | columns.get(one.name, {}))
                for one in recorded.written.values()
            ],
        )


class WithoutUserInput(EventTransformer):
    """Removes what users have entered, and texts that can contain values of rows, from an event.

    These are the parameters, the note and the user of a run, the text of an error, and the attributes of operators.
    """

    def transform(self, event: Event) -> Event:
        """Return the event without these parts.

        Args:
            event: The event, which this method changes.
        """
        if isinstance(event, RunEvent) and event.run.facets:
            for name in ("errorMessage", "unknownSourceAttribute"):
                event.run.facets.pop(name, None)
            for name in ("airflow", "airflowDagRun"):
                run = getattr(event.run.facets.get(name), "dagRun", {})
                for key in ("conf", "note", "triggering_user_name"):
                    run.pop(key, None)
        return event


def _facets(dataset: Dataset) -> dict[str, DatasetFacet]:
    facets: dict[str, DatasetFacet] = {"version": dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)}
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
    from include.column_lineage import column_lineage
    from include.projects import load_project
    from include.settings import get_settings

    def fields(origins: Iterable[Origin]) -> list[column_lineage_dataset.InputField]:
        found = []
        for (name, column), effects in groupby(sorted(origins), lambda origin: (origin.dataset, origin.column)):
            transformations = [
                column_lineage_dataset.Transformation("DIRECT" if one.effect in _DIRECT else "INDIRECT", one.effect)
                for one in effects
            ]
            source = recorded.read[name]
            found.append(column_lineage_dataset.InputField(source.namespace, source.path, column, transformations))
        return found

    facets: dict[str, dict[str, DatasetFacet]] = {}
    project = load_project(get_settings().project)
    for written in recorded.written.values():
        found = column_lineage(project, written, recorded.read)
        if found.columns:
            columns = {name: column_lineage_dataset.Fields(fields(found.columns[name])) for name in found.columns}
            facet = column_lineage_dataset.ColumnLineageDatasetFacet(columns, fields(found.rows))
            facets[written.name] = {"columnLineage": facet}
    return facets

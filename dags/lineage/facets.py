"""The lineage of a step as Airflow's OpenLineage provider sends it."""

from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import column_lineage_dataset as column_lineage

from dags.lineage import NAMESPACE
from dags.lineage.datasets import ColumnInputs, describe_step
from pipelines.core.settings import Settings


def describe_lineage(settings: Settings, step: str) -> OperatorLineage[Any, Any]:
    """Return the datasets that a step read and wrote, with the origin of each column."""
    written = describe_step(settings, step)
    names = {each.name for each in written}
    read = sorted({name for each in written for name in each.inputs} - names)
    return OperatorLineage(
        inputs=[InputDataset(namespace=NAMESPACE, name=name) for name in read],
        outputs=[
            OutputDataset(
                namespace=NAMESPACE,
                name=each.name,
                facets={"columnLineage": _column_facet(each.columns)} if each.columns else {},
            )
            for each in written
        ],
    )


def _column_facet(columns: ColumnInputs) -> column_lineage.ColumnLineageDatasetFacet:
    return column_lineage.ColumnLineageDatasetFacet(
        fields={
            column: column_lineage.Fields(
                inputFields=[
                    column_lineage.InputField(namespace=NAMESPACE, name=dataset, field=origin)
                    for dataset, origin in origins
                ]
            )
            for column, origins in columns.items()
        }
    )

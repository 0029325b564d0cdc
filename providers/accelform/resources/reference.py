"""docs/resources.md, written from the contracts: `python -m accelform.resources.reference > docs/resources.md`."""

from __future__ import annotations

from collections.abc import Iterable

from accelform.plans.contract import Property, ResourceContract
from accelform.resources import (
    cluster_claim,
    compute_target_properties,
    converted_model,
    image,
    model,
    service_access,
    webservice_properties,
    workspace,
)

CONTRACTS: tuple[ResourceContract, ...] = (
    workspace.CONTRACT,
    model.CONTRACT,
    converted_model.CONTRACT,
    image.CONTRACT,
    cluster_claim.CONTRACT,
    compute_target_properties.CONTRACT,
    service_access.CONTRACT,
    webservice_properties.CONTRACT,
)

_ON_CHANGE = {"replace": "replaces", "update": "updates", "output": ""}

_INTRODUCTION = """# Resources

Six resources, and in a cluster `ClusterClaim` and `ServiceAccess` beside them, in the order in which `pulumi up`
creates them; `pulumi destroy` deletes them from the last to the first.
*Written from the code by `make generate`; edit the contracts in `providers/accelform/resources/`, and for a service
the settings in `runtime/accelform_runtime/settings/`, instead.*

**Foretold** properties are written by no one: they follow from the others, so that a preview shows them, and what
depends on them, before anything is deployed. A change of a property *updates* the object in place or *replaces* it.
"""


def render() -> str:
    """The whole page as Markdown, with a final newline."""
    return _INTRODUCTION + "".join(_section(contract) for contract in CONTRACTS)


def _section(contract: ResourceContract) -> str:
    replacing = "the old one is deleted first" if contract.delete_before_replace else "the new one is made first"
    written = [row for row in contract.inputs if not row.computed]
    foretold = [row for row in contract.inputs if row.computed]
    outputs = [row for row in contract.properties if not row.is_input]
    return "".join(
        (
            f"\n## {contract.name}\n\n{contract.summary}\n\n`{contract.token}`; when it is replaced, {replacing}.\n",
            _table("Input", "Default", ((row, _default(row)) for row in written)),
            _table("Foretold", "Unit", ((row, row.unit) for row in foretold)),
            _table("Output", "Unit", ((row, row.unit) for row in outputs)),
        )
    )


def _table(title: str, extra: str, rows: Iterable[tuple[Property, str]]) -> str:
    body = "".join(
        f"| `{row.name}` | {row.kind} | {cell} | {_ON_CHANGE[row.role]} | {_description(row)} |\n" for row, cell in rows
    )
    return f"\n| {title} | Type | {extra} | A change | What it is |\n| --- | --- | --- | --- | --- |\n{body}"


def _default(row: Property) -> str:
    if row.required:
        return "required"
    default = row.otherwise if row.default is None else row.default
    shown = f"`{default}`" if default is not None else ""
    return f"{shown} {row.unit}".strip() if shown else ""


def _description(row: Property) -> str:
    return f"{row.description}; **secret**" if row.secret else row.description


if __name__ == "__main__":
    print(render(), end="")

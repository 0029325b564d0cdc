"""What the planners say before anything is deployed."""

from __future__ import annotations

import pytest

from accelform.targets.edge import BoxState, FpgaState, Resident, capacity_problem, port_problem

OWNER = "project/stack/digits"


def box(*residents: Resident, fpgas: int = 1) -> BoxState:
    """A box whose first FPGAs hold `residents`."""
    rows = [*residents, *[None] * (fpgas - len(residents))]
    return BoxState(
        owner="project/stack/box",
        name="box",
        agent_count=fpgas,
        vm_size="Standard_PB6s",
        location="eastus",
        provisioning_state="Succeeded",
        provisioning_errors=(),
        fpgas=tuple(FpgaState(index=index, resident=row) for index, row in enumerate(rows)),
    )


def resident(service: str = "digits", *, owner: str = OWNER, port: int = 50051, fpga: int = 0) -> Resident:
    return Resident(fpga=fpga, service=service, owner=owner, port=port, image_location="images/digits/1")


def test_a_box_that_does_not_exist_yet_has_room():
    """Before the first deployment only the wished number of FPGAs counts."""
    assert capacity_problem(1, None, "digits", fpgas=1) is None


def test_a_service_has_room_on_the_fpga_it_holds():
    """The resident itself may be deployed again."""
    assert capacity_problem(1, box(resident()), "digits", fpgas=1, owner=OWNER) is None


def test_a_renamed_service_has_room_where_its_owner_is_resident():
    """The resident of the same owner is about to be replaced, so its FPGA and port count as free."""
    taken = box(resident("old-name", port=50051))

    assert capacity_problem(1, taken, "digits", fpgas=1, owner=OWNER) is None
    assert port_problem(50051, taken, "digits", owner=OWNER) is None


def test_a_busy_fpga_names_its_resident():
    """A second service on a full box is refused with the resident, its owner and the way out."""
    problem = capacity_problem(1, box(resident()), "letters", fpgas=1, owner="project/stack/letters")

    assert problem == (
        "edge box 'box' has no free FPGA for 'letters': one FPGA holds one model, and 'digits' of "
        "project/stack/digits holds it; remove one, or raise agent_count to 2"
    )


def test_a_wished_fpga_counts():
    """A box that the same deployment enlarges has room for a second service."""
    assert capacity_problem(1, box(resident()), "letters", fpgas=2, owner="project/stack/letters") is None


@pytest.mark.parametrize(("fpgas", "advice"), [(1, "set num_replicas to 1"), (2, "or declare further web services")])
def test_a_service_is_one_replica(fpgas, advice):
    """Nothing balances load on a box, so more replicas are refused with advice that would work."""
    problem = capacity_problem(2, None, "digits", fpgas=fpgas)

    assert "'digits' asks for 2 replicas" in problem
    assert advice in problem


def test_a_port_of_another_service_is_refused_with_its_name():
    """A port on record counts as taken even while its server is down."""
    problem = port_problem(50051, box(resident(), fpgas=2), "letters", owner="project/stack/letters")

    assert problem == (
        "port 50051 belongs to service 'digits' of project/stack/digits on edge box 'box'; "
        "choose another port for 'letters'"
    )

"""Whether a region's quota of vCPUs suffices for machines, and what to do where it does not.

The rule is that of the retired service: each Standard_PB6s takes 6 vCPUs of "Standard PBS Family vCPUs" of its region.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelform.plans import regions


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One region's quota, in vCPUs. `current` is what is used without the machines in question; None: unknown.

    `needed` is what these machines take; 0 asks for nothing.
    """

    location: str
    limit: int
    current: int | None = None
    needed: int = 0
    vm_size: str = "Standard_PB6s"

    @property
    def missing(self) -> int:
        """vCPUs that are wanted beyond the limit; an unknown use counts as none."""
        return max(0, (self.current or 0) + self.needed - self.limit)

    @property
    def each(self) -> int:
        """vCPUs of one machine."""
        return regions.VCPUS_OF_VM_SIZE[self.vm_size]

    @property
    def room(self) -> int:
        """Machines for which the limit leaves room; an unknown use counts as none."""
        return max(0, self.limit - (self.current or 0)) // self.each

    @property
    def suffices(self) -> bool:
        return self.missing == 0

    def problem(self) -> str | None:
        """What is missing and how to get it, as one sentence; None where the quota suffices."""
        if self.suffices:
            return None
        used = f", of which {self.current} are used" if self.current else ""
        machines = self.needed // self.each
        fewer = f"lower agent_count to {self.room}, or " if self.room else ""
        return (
            f"{machines} machine{'s' if machines != 1 else ''} of {self.vm_size} need{'s' if machines == 1 else ''} "
            f'{self.needed} vCPUs ({self.each} each) of "{regions.QUOTA_FAMILY}" in {self.location}, but the limit '
            f"is {self.limit}{used}: {self.missing} missing; {fewer}ask Azure for more quota "
            f"({regions.QUOTA_REQUEST}; free accounts are not eligible, pay-as-you-go is needed) "
            "and set quota_vcpus to the new limit"
        )


def limit_of(location: str, quota_vcpus: int | None = None) -> int:
    """The limit that a stack states, else the one that a new subscription has in `location`."""
    return regions.QUOTA_VCPUS[location] if quota_vcpus is None else quota_vcpus

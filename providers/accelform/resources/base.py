"""What the six resources share: the provider protocol on one side, the typed Python class on the other.

Every provider method is thin: parse the properties by the resource's contract, plan without side effects, call the
backend, give back all inputs and outputs. The rules behind it, each learnt from the engine's behaviour:

- `check` is the only place where a computed value can become known to a preview, so identity is computed there.
- `diff` leaves the comparison to the engine (`changes=None`), which then reports reasons, and names the replace keys.
  Only what a look at the object shows, and no property tells, is a change of its own.
- `create` adopts what an interrupted earlier run left, because the engine forgets a resource whose create failed.
- `read` answers "here it is, with these inputs", "it is gone", or raises; never "gone" for "cannot tell".
- `update` and `read` return every output, because the engine keeps nothing that they leave out.
"""

from __future__ import annotations

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.output import UNKNOWN as ENGINE_UNKNOWN
from pulumi.output import Unknown

from accelform.plans.contract import UNKNOWN, Planned, ResourceContract, all_known
from accelform.resources import cancelling
from accelform.resources.engine_watch import end_with_engine
from accelform.resources.telling import told_plainly

Values = dict[str, Any]
Answer = TypeVar("Answer")

_IMPORTING = threading.Lock()


class AccelProvider(ResourceProvider, ABC):
    """A stateless provider driven by its resource's contract. Subclasses fill in the five backend verbs."""

    serialize_as_secret_always = False
    contract: ClassVar[ResourceContract]

    def configure(self, req: ConfigureRequest) -> None:
        """Keeps errors to one readable line (ACCELFORM_TRACEBACK=1 brings traces back), and ends with the engine."""
        end_with_engine()
        if not os.environ.get("ACCELFORM_TRACEBACK"):
            sys.tracebacklimit = 0
        cancelling.listen()

    def modules(self, values: Mapping[str, Any], *, offline: bool) -> tuple[str, ...]:
        """Large modules that a verb with `values` (some may be UNKNOWN) will import; `offline` in check.

        The engine calls from several threads, and libraries that import each other in circles are only half there to
        the second of two threads that import them at the same time.
        """
        return ()

    @abstractmethod
    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        """Computes what follows from `inputs` (normalised; some may be UNKNOWN), offline and without side effects.

        `stored` holds the inputs of the last deployment, empty for a new object.
        """

    @abstractmethod
    def make(self, inputs: Values) -> tuple[str, Values]:
        """Creates or adopts the object; returns its id and its outputs."""

    @abstractmethod
    def look(self, id_: str, values: Values) -> Values | None:
        """The live inputs and outputs laid over `values`, or None where the object is gone."""

    def ailing(self, values: Values) -> str:
        """Why the object is not what `values`, its last inputs and outputs, tell, where an update repairs it.

        "" where it is, and where nobody looks since a look is not cheap. Previews ask this.
        """
        return ""

    @abstractmethod
    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        """Brings the object to `inputs`; returns its outputs."""

    @abstractmethod
    def remove(self, id_: str, stored: Values) -> None:
        """Removes the object; one that is already gone is fine."""

    # The engine's protocol.

    @told_plainly
    def check(self, olds: Values, news: Values) -> CheckResult:
        inputs, problems = self.contract.normalise(_without_provider(_from_engine(news)))
        if not problems:
            self._import(inputs, offline=True)
            planned = self._run("the preview", lambda: self.plan(inputs, stored=_without_provider(olds)))
            problems.extend(planned.problems)
            # A computed key that is already there was put back by `ignore_changes`: the user's wish wins.
            inputs = {**planned.computed, **inputs}
        return CheckResult(_to_engine(inputs), [CheckFailure(row.property, row.reason) for row in problems])

    @told_plainly
    def diff(self, id_: str, olds: Values, news: Values) -> DiffResult:
        replaces = self.contract.replaced_by(_from_engine(olds), _from_engine(news))
        why = "" if replaces else self.ailing(self._values(olds))
        if why:
            print(f"{type(self).__name__.removesuffix('Provider')} {id_} is to be repaired: {why}", flush=True)
        return DiffResult(
            changes=True if why else None,
            replaces=replaces,
            delete_before_replace=self.contract.delete_before_replace,
        )

    @told_plainly
    def create(self, props: Values) -> CreateResult:
        inputs = self._inputs(props)
        self._import(inputs)
        id_, outputs = self._run("the creation", lambda: self.make(inputs))
        return CreateResult(id_, {**inputs, **outputs})

    @told_plainly
    def read(self, id_: str, props: Values) -> ReadResult:
        self._import(props)
        values = self._run("the look at it", lambda: self.look(id_, self._values(props)))
        if values is None:
            return ReadResult("", {})
        return ReadResult(id_, values, self.contract.pick_inputs(values))

    @told_plainly
    def update(self, id_: str, olds: Values, news: Values) -> UpdateResult:
        inputs = self._inputs(news)
        self._import(inputs)
        changed = self._run("the update", lambda: self.change(id_, self._values(olds), inputs))
        return UpdateResult({**inputs, **changed})

    @told_plainly
    def delete(self, id_: str, props: Values) -> None:
        self._import(props)
        self._run("the removal", lambda: self.remove(id_, self._values(props)))

    def _run(self, verb: str, work: Callable[[], Answer]) -> Answer:
        return cancelling.run(work, what=f"{verb} of {self.contract.name}")

    def _import(self, values: Mapping[str, Any], *, offline: bool = False) -> None:
        with _IMPORTING:
            for name in self.modules(values, offline=offline):
                import_module(name)

    def _inputs(self, props: Values) -> Values:
        return self.contract.normalise(self.contract.pick_inputs(props))[0]

    def _values(self, props: Values) -> Values:
        return {**self._inputs(props), **self.contract.pick_outputs(props)}


def unknown_unless_known(contract: ResourceContract, inputs: Values, needed: tuple[str, ...]) -> Planned | None:
    """A plan whose computed properties are all unknown, where one of `needed` is; None where all are known."""
    if all_known(inputs, needed):
        return None
    return Planned(computed=dict.fromkeys(contract.names(computed=True), UNKNOWN))


class AccelResource(Resource, module="accel", name="Resource"):
    """A typed resource: passes set inputs on, and declares each output so that it exists as an attribute."""

    contract: ClassVar[ResourceContract]

    def __init__(
        self,
        provider: AccelProvider,
        resource_name: str,
        inputs: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        # None is dropped on the wire and so stays unknown in a preview; any other placeholder would be believed.
        # Computed inputs are declared the same way: the attribute exists, `check` gives it its value.
        placeholders = dict.fromkeys((*self.contract.outputs, *self.contract.names(computed=True)))
        props = {**placeholders, **inputs, "owner": owner_of(resource_name)}
        secrets = list(self.contract.secrets)
        merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=secrets))
        super().__init__(provider, resource_name, props, merged)


def owner_of(resource_name: str) -> str:
    """Who owns an object in a store or on a box: `<project>/<stack>/<resource name>`.

    Without the organisation, so that a stack may move to another backend. When project, stack or resource get another
    name, the next update hands the marks over: the state knows the name that they bear.
    """
    return f"{pulumi.get_project()}/{pulumi.get_stack()}/{resource_name}"


def _without_provider(values: Mapping[str, Any]) -> Values:
    return {name: value for name, value in values.items() if name != "__provider"}


def _from_engine(value: Any) -> Any:
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {name: _from_engine(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_engine(item) for item in value]
    return value


def _to_engine(value: Any) -> Any:
    if value is UNKNOWN:
        return ENGINE_UNKNOWN
    if isinstance(value, Mapping):
        return {name: _to_engine(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_engine(item) for item in value]
    return value

"""How a plan's writes are carried out."""

from __future__ import annotations

from typing import Any

import pytest

from builders.clock import VirtualClock
from builders.in_memory_cluster import InMemoryCluster
from inference_fleet.adapters import ports
from inference_fleet.adapters.ports import Object
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS, REPLICA_SETS
from inference_fleet.controller.executor import Executor, LostLead
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.planning.writes import Apply, Create, Delete, ObjectReference, Patch

REFERENCE = ObjectReference("apps/v1", "ReplicaSet", "replicasets", "chat", "pool")


def owned(uid: str = "owner", name: str = "llama") -> list[dict[str, Any]]:
    return [{"kind": "InferenceDeployment", "name": name, "uid": uid, "controller": True}]


def body(**metadata: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "pool",
            "labels": {"inferencefleet.io/deployment": "llama"},
            "ownerReferences": owned(),
            **metadata,
        },
        "spec": {"replicas": 3},
    }


class Case:
    """An executor over a cluster, with a store that has seen it."""

    def __init__(self) -> None:
        self.cluster = InMemoryCluster(VirtualClock())
        self.store = Store()
        self.leads = self.sees = True
        self.executor = Executor(
            self.cluster, self.store, Telemetry(), leads=lambda: self.leads, sees=lambda: self.sees
        )

    def standing(self, **metadata: Any) -> Object:
        obj = self.cluster.add(REPLICA_SETS, body(**metadata), namespace="chat")
        self.store.put(REPLICA_SETS, obj)
        return obj

    def live(self) -> Object:
        found = self.cluster.find(REPLICA_SETS, "pool", "chat")
        assert found is not None
        return found


@pytest.fixture
def case() -> Case:
    return Case()


def scale(obj: Object, replicas: int, *, lowers: bool) -> Patch:
    metadata = obj["metadata"]
    change = {"spec": {"replicas": replicas}}
    return Patch(REFERENCE, change, metadata["uid"], metadata["resourceVersion"], "test", lowers)


async def test_what_was_written_is_seen_at_once(case: Case) -> None:
    result = await case.executor.execute([Create(REFERENCE, body(), "test")])
    assert result.done == 1
    assert result.touched == {("chat", "llama")}
    assert case.store.get(REPLICA_SETS, name="pool", namespace="chat") is not None


async def test_a_create_that_was_done_already_is_done(case: Case) -> None:
    case.cluster.add(REPLICA_SETS, body(), namespace="chat")
    result = await case.executor.execute([Create(REFERENCE, body(), "test")])
    assert (result.done, result.stale, result.refused) == (1, None, ())


async def test_a_name_that_is_not_ours_is_refused_and_left_alone(case: Case) -> None:
    foreign = case.cluster.add(REPLICA_SETS, body(ownerReferences=[]), namespace="chat")
    result = await case.executor.execute([Create(REFERENCE, body(), "test")])
    assert len(result.refused) == 1
    assert case.live() == foreign


async def test_a_child_of_a_former_object_of_the_name_is_waited_for(case: Case) -> None:
    case.cluster.add(REPLICA_SETS, body(ownerReferences=owned("former")), namespace="chat")
    result = await case.executor.execute([Create(REFERENCE, body(), "test")])
    assert result.stale is not None
    assert result.refused == ()


async def test_a_child_that_is_being_deleted_is_waited_for(case: Case) -> None:
    case.cluster.add(REPLICA_SETS, body(deletionTimestamp="2026-01-01T00:00:00Z"), namespace="chat")
    result = await case.executor.execute([Create(REFERENCE, body(), "test")])
    assert isinstance(result.stale, ports.Conflict)
    assert "is being deleted" in str(result.stale)
    assert (result.done, result.refused) == (0, ())


async def test_a_write_against_an_old_version_changes_nothing(case: Case) -> None:
    old = case.standing()
    case.cluster.edit(REPLICA_SETS, "pool", "chat", lambda obj: obj["spec"].update(replicas=5))
    metadata = old["metadata"]
    applied = Apply(REFERENCE, body(), metadata["uid"], metadata["resourceVersion"], "test")
    for write in (scale(old, 9, lowers=False), applied):
        assert (await case.executor.execute([write])).stale is not None
    assert case.live()["spec"]["replicas"] == 5


async def test_nothing_is_lowered_that_has_changed_in_our_own_view(case: Case) -> None:
    old = case.standing()
    await case.executor.execute([scale(old, 4, lowers=False)])
    tried: list[str] = []
    case.cluster.before = lambda verb, resource, name: tried.append(verb)
    result = await case.executor.execute([scale(old, 1, lowers=True)])
    assert result.stale is not None
    assert case.live()["spec"]["replicas"] == 4
    assert tried == []


async def test_a_write_to_a_former_object_of_the_name_changes_nothing(case: Case) -> None:
    obj = case.standing()
    former = {**obj, "metadata": {**obj["metadata"], "uid": "uid-former"}}
    for write in (
        scale(former, 9, lowers=False),
        Apply(REFERENCE, body(), "uid-former", obj["metadata"]["resourceVersion"], "test"),
        Delete(REFERENCE, "uid-former", obj["metadata"]["resourceVersion"], "test"),
    ):
        assert (await case.executor.execute([write])).stale is not None
    assert case.live()["spec"]["replicas"] == 3


async def test_what_a_write_made_of_an_object_is_seen_at_once(case: Case) -> None:
    obj = case.standing()
    assert (await case.executor.execute([scale(obj, 7, lowers=False)])).touched == {("chat", "llama")}
    seen = case.store.get(REPLICA_SETS, name="pool", namespace="chat")
    assert seen is not None
    assert seen["spec"]["replicas"] == 7


async def test_a_pool_is_made_only_after_what_its_pods_need(case: Case) -> None:
    account = ObjectReference("v1", "ServiceAccount", "serviceaccounts", "chat", "account")
    tried: list[str] = []

    def away(verb: str, resource: ports.Resource, name: str) -> None:
        tried.append(name)
        if name == "account":
            raise ports.Unavailable("away")

    case.cluster.before = away
    made = {"metadata": {"name": "account"}}
    with pytest.raises(ports.Unavailable):
        await case.executor.execute([Create(account, made, "test"), Create(REFERENCE, body(), "test")])
    assert tried == ["account"]


async def test_nothing_is_lowered_or_deleted_while_the_view_is_blind(case: Case) -> None:
    obj = case.standing()
    case.sees = False
    metadata = obj["metadata"]
    gone = Delete(REFERENCE, metadata["uid"], metadata["resourceVersion"], "test")
    for write in (scale(obj, 1, lowers=True), gone):
        assert (await case.executor.execute([write])).stale is not None
    assert case.live()["spec"]["replicas"] == 3
    raised = await case.executor.execute([scale(obj, 7, lowers=False)])
    assert raised.done == 1


async def test_after_a_failed_write_nothing_is_taken_away_but_the_rest_goes_on(case: Case) -> None:
    obj = case.standing()
    missing = ObjectReference("apps/v1", "ReplicaSet", "replicasets", "chat", "missing")
    result = await case.executor.execute(
        [Patch(missing, {}, "u", "1", "test"), scale(obj, 1, lowers=True), scale(obj, 8, lowers=False)]
    )
    assert result.stale is not None
    assert result.done == 1
    assert case.live()["spec"]["replicas"] == 8


@pytest.mark.parametrize(
    "error",
    [
        ports.Forbidden("no quota", status=403),
        ports.Invalid("no such field", status=422),
        ports.Unavailable("no address left for a Service", status=500),
    ],
)
async def test_what_the_server_refuses_is_told_and_the_rest_goes_on(case: Case, error: ports.ClusterError) -> None:
    obj = case.standing()

    def refuse(verb: str, resource: ports.Resource, name: str) -> None:
        if verb == "create":
            raise error

    case.cluster.before = refuse
    result = await case.executor.execute([Create(REFERENCE, body(), "test"), scale(obj, 8, lowers=False)])
    assert len(result.refused) == 1
    assert result.done == 1


async def test_a_deletion_of_what_is_gone_is_done(case: Case) -> None:
    obj = case.standing()
    case.cluster.remove(REPLICA_SETS, obj)
    write = Delete(REFERENCE, obj["metadata"]["uid"], obj["metadata"]["resourceVersion"], "test")
    # The version of a removed object moves on in the cluster; the store still knows the one that was listed.
    kept = case.store.get(REPLICA_SETS, name="pool", namespace="chat")
    assert kept is not None
    write = Delete(REFERENCE, write.uid, kept["metadata"]["resourceVersion"], "test")
    assert (await case.executor.execute([write])).done == 1


async def test_an_unanswered_write_stops_everything(case: Case) -> None:
    obj = case.standing()

    def away(verb: str, resource: ports.Resource, name: str) -> None:
        raise ports.Unavailable("away")

    case.cluster.before = away
    with pytest.raises(ports.Unavailable):
        await case.executor.execute([scale(obj, 8, lowers=False), scale(obj, 9, lowers=False)])


async def test_without_the_lease_nothing_is_written(case: Case) -> None:
    obj = case.standing()
    case.leads = False
    with pytest.raises(LostLead):
        await case.executor.execute([scale(obj, 8, lowers=False)])
    with pytest.raises(LostLead):
        await case.executor.write_status(obj, {})
    assert case.cluster.writes == []


async def test_a_status_is_fenced_and_touches_only_if_it_changed(case: Case) -> None:
    obj = case.cluster.add(INFERENCE_DEPLOYMENTS, {"metadata": {"name": "llama"}, "spec": {}}, namespace="chat")
    seen = {**obj, "metadata": dict(obj["metadata"])}
    assert await case.executor.write_status(seen, {"replicas": 1}) == {("chat", "llama")}
    with pytest.raises(ports.Conflict):
        await case.executor.write_status(seen, {"replicas": 2})
